"""The object-detect stage."""
