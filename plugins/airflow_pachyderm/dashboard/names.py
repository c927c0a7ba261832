"""What requests may name. Everything else ends as 422 before it reaches Pachyderm."""

import re
from typing import Annotated, Final

from annotated_types import Ge, Le, MaxLen
from pydantic import AfterValidator, Field

from stages.contract.names import DEVICE_PATTERN, OUTPUT_NAME_PATTERN

PAGE_LIMIT: Final = 100

_GLOB: Final = re.compile(r"([*?\[\]{}!()@+^\\|])")


def _valid_path(path: str) -> str:
    if not path.startswith("/") or "//" in path:
        raise ValueError("a path begins with one / and has no empty element")
    if not path.isprintable():
        raise ValueError("a path has printable characters only")
    if any(element in {".", ".."} for element in path.split("/")):
        raise ValueError("a path has no element . or ..")
    return path


def literal_glob(path: str) -> str:
    """The glob that matches this path alone; Pachyderm reads file names of GetFile as globs."""
    return _GLOB.sub(r"\\\1", path)


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
"""A repo, a branch, a pipeline; also a branch or a commit id."""

HexId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""A commit, commit set or job."""

DatumId = Annotated[str, Field(pattern=r"^[0-9a-f]{16,128}$")]

FilePath = Annotated[str, MaxLen(4096), AfterValidator(_valid_path)]

Device = Annotated[str, Field(pattern=f"^{DEVICE_PATTERN}$")]

Timestamp = Annotated[str, Field(pattern=f"^{OUTPUT_NAME_PATTERN}$")]
"""Name of a threat's files without extension: Unix seconds, with ``_png`` or ``_jpeg`` behind them where the image is called so."""

PlaceInList = Annotated[str, Field(pattern=f"^{OUTPUT_NAME_PATTERN}-{DEVICE_PATTERN}$")]
"""A threat in the list, as :class:`~airflow_pachyderm.dashboard.threats.Place` writes it."""

Limit = Annotated[int, Ge(1), Le(PAGE_LIMIT)]
