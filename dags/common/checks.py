"""What is checked of a model or a rule file before it is put. Light to import: DAG files name these functions."""

import importlib.util
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def check_model(path: Path) -> None:
    """Load a frozen graph as object-detect will; where TensorFlow is not installed, look for its tensors only.

    :raises StageError: It is none, or lacks a tensor.
    """
    if warning := unloaded():
        log.warning("%s", warning)
        from stages.object_detect.graph_file import check_graph_file

        check_graph_file(path)
        return
    from stages.object_detect.detector import Detector

    Detector(path, threads=1, threshold=0.5).close()


def unloaded() -> str:
    """What to say of models that are put from here: a sentence where they cannot be loaded first, else nothing."""
    if importlib.util.find_spec("tensorflow") is not None:
        return ""
    return (
        "The model has the right tensors and was not loaded, since TensorFlow is not installed where this ran: "
        "object-detect fails its datums if it cannot load it; push an image to see"
    )


def check_rules(path: Path) -> None:
    """Read a rule file as threat-detect will, and hold it against the model and the cameras that there are.

    What has no effect is logged; rules that can do nothing at all are refused.

    :raises StageError: It is not JSON, names an unknown key, or can never tell anybody anything.
    """
    from airflow_pachyderm.hooks.pachyderm import PachydermHook
    from dags import settings
    from dags.common.world import rule_doubts, world_of
    from stages.common.errors import StageError

    found = rule_doubts(path, world_of(PachydermHook(settings.PACHYDERM_CONN_ID)))
    for doubt in found:
        if not doubt.refused:
            log.warning("%s: %s", path.name, doubt)
    if refused := [str(doubt) for doubt in found if doubt.refused]:
        raise StageError(f"{path.name}: {'; '.join(refused)}")
