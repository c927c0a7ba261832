"""Names and ids: what is allowed, and what tells one from the other."""

import re
import uuid

from minipachd.errors import InvalidError
from minipachd.pfs.types import CommitSetId

FILESET_REPO = "__filesets__"
MAX_PROJECT_NAME = 51  # 63, the length of a DNS label, less what Pachyderm puts around it

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_ID = re.compile(r"[0-9a-f]{12}4[0-9a-f]{19}")


def new_id() -> CommitSetId:
    """A fresh commit set id. Clients tell ids from branch names by this shape."""
    return CommitSetId(uuid.uuid4().hex)


def is_id(text: str) -> bool:
    """Whether this is a UUID v4 without dashes."""
    return _ID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether a branch could be called so, its shape apart."""
    return _NAME.fullmatch(text) is not None


def check_name(name: str) -> None:
    """Refuse what no repo, branch or project may be called.

    :raises InvalidError: Says which characters are allowed.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidError(f"name ({name}) invalid: only alphanumeric characters, underscores, and dashes are allowed")


def check_repo_name(name: str) -> None:
    """:raises InvalidError: Not a name, or one that the engine keeps for itself."""
    check_name(name)
    if name == FILESET_REPO:
        raise InvalidError(f"{name} is a reserved name, choose another one for the repo")


def check_branch_name(name: str) -> None:
    """:raises InvalidError: Not a name, or one that looks like a commit id."""
    check_name(name)
    if is_id(name):
        raise InvalidError(f"branch name {name} cannot be a UUID V4, it would be taken for a commit id")


def check_project_name(name: str) -> None:
    """:raises InvalidError: Not a name, too long, or one that does not begin with a letter or digit."""
    check_name(name)
    if not name[0].isalnum():
        raise InvalidError(f"project name ({name}) invalid: it must start with an alphanumeric character")
    if len(name) > MAX_PROJECT_NAME:
        raise InvalidError(f"project name ({name}) invalid: it is {len(name)} characters long, at most {MAX_PROJECT_NAME} are allowed")
