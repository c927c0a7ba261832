"""``python -m stages.object_detect``."""

import sys

from stages.common.runner import main
from stages.object_detect.stage import ObjectDetectStage

sys.exit(main(ObjectDetectStage()))
