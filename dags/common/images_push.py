"""The push of a batch of images, of which some may be gone or still be written when their turn comes."""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from airflow_pachyderm.exceptions import PachydermError, PachydermSourceError
from airflow_pachyderm.files import SourceFile, open_filesystem
from airflow_pachyderm.operators.push import PachydermPushOperator
from dags.common.landing import LEADS_OUT, root_of

if TYPE_CHECKING:
    from airflow.sdk import Context

_LOOKS_AT_ONCE: Final = 8
_MOST_TRIES: Final = 5
XCOM_LEFT_OUT: Final = "left_out"
GONE: Final = "deleted since it was listed"
GROWING: Final = "still being written, or written again, since it was listed: a later run takes it when it is whole"
FORBIDDEN: Final = "nobody may read it"
LEFT_OUT: Final = (GONE, GROWING, FORBIDDEN)


class ImagesPushOperator(PachydermPushOperator):
    """Push a batch; an image that is gone, or is not what was listed, is left out, and the others are pushed.

    :return: As :class:`~airflow_pachyderm.operators.push.PachydermPushOperator`; ``left_out`` has the reason by URL. When nothing is left,
        ``commit`` is empty and there are no jobs.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._left_out: dict[str, str] = {}

    def execute(self, context: "Context") -> dict[str, Any]:
        """Push the batch as it was listed, since it may have been pushed so before; where that cannot be, what there is of it."""
        for _ in range(_MOST_TRIES):
            try:
                return super().execute(context)
            except PachydermError as exc:
                odd = odd_ones(self._files(), suspect=exc.url if isinstance(exc, PachydermSourceError) else "", cause=exc.__cause__)
                if not odd:
                    raise
                self._left_out |= odd
                for url, why in odd.items():
                    self.log.warning("%s is left out: %s", url, why)
                context["ti"].xcom_push(key=XCOM_LEFT_OUT, value=self._left_out)
                if not self._files():
                    empty = {"commit": "", "reused": False, "files": 0, "bytes": 0, "seconds": 0.0, "jobs": {}}
                    return {**empty, "manifest": self.manifest, "left_out": self._left_out}
        return super().execute(context)

    def _files(self) -> list[SourceFile]:
        return [file for file in super()._files() if file.url not in self._left_out]

    def _done(self, context: "Context", push: dict[str, Any], jobs: dict[str, dict[str, Any]]) -> dict[str, Any]:
        ti: Any = context["ti"]
        left_out = self._left_out or ti.xcom_pull(key=XCOM_LEFT_OUT, task_ids=ti.task_id, map_indexes=ti.map_index) or {}
        return {**super()._done(context, push, jobs), "left_out": left_out}


def odd_ones(files: Iterable[SourceFile], *, suspect: str, cause: BaseException | None) -> dict[str, str]:
    """The files that are not there any more as they were listed, with the reason; none when a source is only away for a moment.

    :param suspect: URL of the one that could not be read.
    :param cause: Why.
    """
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        listed = list(files)
        found: Mapping[str, str] = {file.url: why for file, why in zip(listed, pool.map(_why_not, listed), strict=True) if why}
    if not found and isinstance(cause, PermissionError) and suspect in {file.url for file in listed}:
        return {suspect: FORBIDDEN}
    return dict(found)


def _why_not(file: SourceFile) -> str:
    filesystem, path = open_filesystem(file.url)
    try:
        if file.within and not root_of(os.path.realpath(path), [file.within]):
            return LEADS_OUT
        size = filesystem.info(path).get("size")
    except (FileNotFoundError, NotADirectoryError):
        return GONE
    except Exception:  # noqa: BLE001 - each fsspec back end raises its own SDK's errors; the push is tried again, and says what is wrong
        return ""
    return GROWING if None not in (size, file.size_bytes) and size != file.size_bytes else ""
