"""What a commit may not hold when it is finished."""

from minipachd.pfs import paths
from minipachd.pfs.filetree import FileTree
from minipachd.storage import EMPTY_ROOT, Tree


def content_error(files: FileTree, base: FileTree, prefix: str = "") -> str:
    """Why these files cannot become a finished commit, or nothing. Costs about what changed since ``base``, which is held to be right.

    One path may hold content of one tag only, and may not be both a file and a directory.

    :param prefix: Look only at paths that begin so.
    """
    changed = (paths.split_key(key) for key, _, after in files.tree.diff(base.tree) if after is not None)
    added = [(path, tag) for path, tag in changed if path.startswith(prefix) and path != paths.ROOT]
    on_empty_base = base.root == EMPTY_ROOT
    directories: set[str] = set()
    previous: tuple[str, str] | None = None
    for path, tag in added:
        if previous is not None and previous[0] == path:
            return _two_writers(path, previous[1], tag)
        previous = (path, tag)
        if not on_empty_base:
            tags = [paths.split_key(entry.key)[1] for entry in files.tree.scan(*paths.pieces_range(path))]
            if len(tags) > 1:
                return _two_writers(path, *tags[:2])
            if below := files.tree.first(*paths.directory_range(path)):
                return _collision(path, paths.split_key(below.key)[0])
        parent = path.rpartition("/")[0]
        if parent not in directories:
            directories.update(directory.rstrip("/") for directory in paths.ancestors(path))
    return _file_above(files.tree, {directory for directory in directories if directory and directory.startswith(prefix)})


def _file_above(tree: Tree, directories: set[str]) -> str:
    for directory in sorted(directories):
        if tree.first(*paths.pieces_range(directory)):
            below = tree.first(*paths.directory_range(directory))
            return _collision(directory, paths.split_key(below.key)[0] if below else directory)
    return ""


def _two_writers(path: str, first: str, second: str) -> str:
    return (
        f"duplicate path output by different datums ({path} from {first} and {path} from {second}); let each datum write files of its own"
    )


def _collision(file: str, below: str) -> str:
    return f"file / directory path collision ({below}): {file} is a file, too; rename one of them"
