"""``python -m stages.threat_detect``."""

import sys

from stages.common.runner import main
from stages.threat_detect.stage import ThreatDetectStage

sys.exit(main(ThreatDetectStage()))
