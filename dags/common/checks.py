"""What is checked of a model or a rule file before it is put. Light to import: DAG files name these functions."""

import importlib.util
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def check_model(path: Path) -> None:
    """Load a frozen graph as object-detect will; where TensorFlow is not installed, leave that to object-detect.

    :raises StageError: It is none, or lacks a tensor.
    """
    if importlib.util.find_spec("tensorflow") is None:
        log.warning("The model is not checked: TensorFlow is not installed here; object-detect fails its datums if it cannot load it")
        return
    from stages.object_detect.detector import Detector

    Detector(path, threads=1, threshold=0.5).close()


def check_rules(path: Path) -> None:
    """Read a rule file as threat-detect will.

    :raises StageError: It is not JSON, or names an unknown key.
    """
    from stages.threat_detect.rules import read_rules

    read_rules(path)
