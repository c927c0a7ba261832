"""threat-detect: which detections are threats, and who is told."""
