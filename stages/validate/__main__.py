"""``python -m stages.validate``."""

import sys

from stages.common.runner import main
from stages.validate.stage import ValidateStage

sys.exit(main(ValidateStage()))
