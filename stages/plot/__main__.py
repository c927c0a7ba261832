"""``python -m stages.plot``."""

import sys

from stages.common.runner import main
from stages.plot.stage import PlotStage

sys.exit(main(PlotStage()))
