"""The directory that user code sees as ``/pfs``: inputs written into it, kept where they are still right, and outputs collected from it.

Inputs are copies, so whatever user code does to them stays in this directory. A file that the next datum needs as well (the model, the
rules) is left in place if nobody touched it: same inode, size, and times as when we wrote it. The change time cannot be set by a program,
so a changed file is never taken for an unchanged one.
"""

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from minipachd.errors import MinipachdError
from minipachd.pfs import FileEntry, Pfs, Upload, paths
from minipachd.pps.spec import DatumId
from minipachd.storage import CHUNK_BYTES

MAX_LINKS = 40
MAX_HOLES = 16 << 30
OUT = "out"
ENV_FILE = ".env"


def remove_tree(path: Path) -> None:
    """Remove a directory in which user code was at work; what cannot be removed stays."""
    try:
        shutil.rmtree(path, ignore_errors=True)
    except RecursionError:  # it holds directories below directories, more than shutil can follow; rm has no such bound
        subprocess.run(["rm", "-rf", "--", path], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _pieces(file: BinaryIO, check: Callable[[], None]) -> Iterator[bytes]:
    while piece := file.read(CHUNK_BYTES):
        yield piece
        check()


class OutputError(MinipachdError):
    """Something in ``/pfs/out`` cannot be stored. The datum fails with this text."""


class _Written(msgspec.Struct, frozen=True, gc=False):
    """A file as we left it: what it contains, or would if it were no empty placeholder, and what the file system said of it then."""

    chunks: bytes
    empty: bool
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def untouched(self, now: os.stat_result) -> bool:
        return (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (self.inode, self.size, self.mtime_ns, self.ctime_ns)


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """A file that a datum needs: what it is, and whether a placeholder of zero bytes will do."""

    entry: FileEntry
    empty: bool = False


class WorkDir:
    """One worker's ``pfs`` directory. Belongs to the worker's thread.

    :param root: The directory itself, made by the sandbox.
    :param mount_point: Where user code finds it.
    :param owner: User and group that its content is given to; None leaves it to us.
    :param confined: User code has a file system of its own around the mount point: links into that cannot be followed from here.
    """

    def __init__(self, root: Path, pfs: Pfs, *, mount_point: Path, owner: tuple[int, int] | None = None, confined: bool = False) -> None:
        self.root = root.resolve()
        self.mount_point = mount_point
        self._pfs = pfs
        self._owner = owner
        self._confined = confined
        self._wanted: Mapping[str, Wanted] = {}
        self._written: dict[str, _Written] = {}
        self._make_directory(OUT)

    def prepare(self, wanted: Mapping[str, Wanted], directories: Iterable[str], env: Iterable[str]) -> int:
        """Make the directory what a datum expects: its inputs, an empty ``out``, and ``.env``.

        :param wanted: By path below the root, such as ``images/dev1_1.jpg``.
        :param directories: Must exist even when no file lies in them.
        :param env: Lines of ``.env``.
        :return: Bytes written.
        """
        needed = {os.path.dirname(path) for path in wanted} | set(directories) | {OUT}  # noqa: PTH120 - plain text, in bulk
        for path in list(needed):
            while path := os.path.dirname(path):  # noqa: PTH120
                needed.add(path)
        kept: dict[str, _Written] = {}
        self._clean("", wanted, needed, kept)
        self._wanted, self._written = wanted, kept
        for path in sorted(needed):
            self._make_directory(path)
        size = 0
        for path, want in wanted.items():
            if path not in self._written:
                size += self._write(path, want)
        env_file = self.root / ENV_FILE  # a container's user may be anybody
        fd = os.open(env_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644 if self._confined else 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(f"{line}\n" for line in env))
            if self._confined:
                os.fchmod(fd, 0o644)  # whatever the umask is
        self._give(env_file)
        return size

    def drop_output(self) -> None:
        """Remove what user code has written for its datum: it may be most of the disk."""
        self._clean(f"{OUT}/", {}, set(), {})

    def collect(self, upload: Upload, tag: DatumId, *, check: Callable[[], None] = lambda: None) -> list[FileEntry]:
        """Store every file of ``out``, in path order. A link to an untouched input is recorded as a reference: no byte is read.

        :param check: Called between two megabytes; what it raises ends this.
        :raises OutputError: A link that is broken or leads out of here, a name that Pachyderm does not allow, a file that cannot be read.
        """
        entries = []
        for path, source in self._all_outputs():
            check()
            try:
                paths.check(path)
            except MinipachdError as exc:
                raise OutputError(f"cannot store output file {path!r}: {exc}") from exc
            known = self._untouched_input(source)
            if known is not None:
                entries.append(known.moved(path, tag=tag))
                continue
            try:
                with self._open(path, source) as file:
                    entries.append(upload.add_bytes(path, _pieces(file, check), tag=tag))
            except OSError as exc:
                raise OutputError(f"cannot read output file {path!r}: {exc}") from exc
        return sorted(entries, key=lambda entry: entry.path)

    def _open(self, shown: str, source: str) -> BinaryIO:
        """Open an output file. It is looked at once it is open: a program that still runs may put a link in its place at any moment."""
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            self._check_opened(fd, shown)
        except BaseException:
            os.close(fd)
            raise
        return os.fdopen(fd, "rb", buffering=0)

    def _check_opened(self, fd: int, shown: str) -> None:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or not self._inside(os.readlink(f"/proc/self/fd/{fd}")):  # noqa: PTH115 - for each file of each datum
            raise OutputError(f"output file {shown!r} was replaced while it was collected")
        on_disk = found.st_blocks * 512
        if found.st_size - on_disk > MAX_HOLES and os.lseek(fd, 0, os.SEEK_HOLE) < found.st_size:
            raise OutputError(
                f"output file {shown!r} says {found.st_size:,} bytes and has {on_disk:,} on the disk: "
                f"files with more than {MAX_HOLES >> 30} GiB of holes are not stored"
            )
        os.lseek(fd, 0, os.SEEK_SET)

    def _inside(self, path: str) -> bool:
        return path == str(self.root) or path.startswith(f"{self.root}/")

    def _all_outputs(self) -> Iterator[tuple[str, str]]:
        try:
            yield from self._outputs(str(self.root / OUT), "/", ())
        except RecursionError:
            raise OutputError("output directories are nested too deeply: no more than some hundreds below each other, please") from None

    def _outputs(self, directory: str, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """(path in the repo, file on disk) of everything below ``directory``; ``above`` are the real directories that led here."""
        try:
            children = sorted(os.scandir(directory), key=lambda child: child.name)
        except PermissionError as exc:
            raise OutputError(f"cannot read output directory {prefix!r}: {exc}") from exc
        for child in children:
            path, source = prefix + child.name, child.path
            if child.is_symlink():
                source = self._resolve(child.path, path)
                if not self._inside(source):
                    raise self._leaves(path, child.path)
            mode = os.lstat(source).st_mode
            if stat.S_ISREG(mode):
                yield path, source
            elif stat.S_ISDIR(mode):
                if source in above:
                    raise OutputError(f"output link {path!r} leads back into itself")
                yield from self._outputs(source, path + "/", (*above, directory))

    def _resolve(self, link: str, shown: str) -> str:
        """Follow a link as user code would, for whom this directory is at the mount point."""
        current, rest, links = os.path.dirname(link), [os.path.basename(link)], 0  # noqa: PTH119, PTH120
        root, mounted = str(self.root), self.mount_point != self.root
        while rest:
            part = rest.pop()
            if part in ("", "."):
                continue
            if part == "..":
                current = "/" if mounted and current == root else os.path.dirname(current)  # noqa: PTH120
                continue
            if mounted and current == "/" and part == self.mount_point.name:
                current = root
                continue
            if self._confined and current == "/":
                raise self._leaves(shown, link)
            candidate = os.path.join(current, part)  # noqa: PTH118
            try:
                is_link = stat.S_ISLNK(os.lstat(candidate).st_mode)
                target = str(Path(candidate).readlink()) if is_link else ""
            except OSError as exc:
                raise OutputError(f"output link {shown!r} is broken: {str(Path(link).readlink())!r} does not exist") from exc
            if not is_link:
                current = candidate
                continue
            links += 1
            if links > MAX_LINKS:
                raise OutputError(f"output link {shown!r} is broken: more than {MAX_LINKS} links behind it")
            if target.startswith("/"):
                current = "/"
            rest.extend(reversed(target.split("/")))
        return current

    def _leaves(self, shown: str, link: str) -> OutputError:
        return OutputError(
            f"output link {shown!r} leads out of /pfs, to {str(Path(link).readlink())!r}: copy the file into /pfs/out instead"
        )

    def _untouched_input(self, source: str) -> FileEntry | None:
        root = str(self.root) + "/"
        path = source.removeprefix(root)
        written = self._written.get(path) if path != source else None
        return self._wanted[path].entry if written is not None and written.untouched(os.lstat(source)) else None

    def _clean(self, prefix: str, wanted: Mapping[str, Wanted], needed: set[str], kept: dict[str, _Written]) -> None:
        """Remove all that the next datum does not need, below one directory; what may stay goes into ``kept``.

        :raises OSError: Something cannot be removed.
        """
        try:
            self._clean_directory(prefix, wanted, needed, kept)
        except RecursionError:  # nested deeper than that can follow: then nothing stays
            kept.clear()
            directory = self.root / prefix
            for child in directory.iterdir():
                if child.is_dir() and not child.is_symlink():
                    remove_tree(child)
                else:
                    child.unlink()
            if left := next(directory.iterdir(), None):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(left)) from None

    def _clean_directory(self, prefix: str, wanted: Mapping[str, Wanted], needed: set[str], kept: dict[str, _Written]) -> None:
        directory = self.root / prefix
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            directory.chmod(stat.S_IRWXU)
        for child in list(os.scandir(directory)):
            path = prefix + child.name
            if child.is_dir(follow_symlinks=False):
                self._clean_directory(path + "/", wanted, needed, kept)
                if path not in needed:
                    Path(child.path).rmdir()
                continue
            written, want = self._written.get(path), wanted.get(path)
            if (
                written is None
                or want is None
                or (written.chunks, written.empty) != (want.entry.chunks, want.empty)
                or not written.untouched(child.stat(follow_symlinks=False))
            ):
                Path(child.path).unlink()
            else:
                kept[path] = written

    def _make_directory(self, path: str) -> None:
        directory = self.root / path
        try:
            directory.mkdir()
        except FileExistsError:
            return
        directory.chmod(0o777 if self._confined else 0o700)  # a container's user may be anybody; above us nobody else may pass
        self._give(directory)

    def _write(self, path: str, want: Wanted) -> int:
        target = self.root / path
        if want.empty:
            target.touch()
        else:
            self._pfs.write_to(want.entry, target)
        if self._confined:
            target.chmod(0o644)
        self._give(target)
        now = target.lstat()
        self._written[path] = _Written(want.entry.chunks, want.empty, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
        return now.st_size

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, *self._owner, follow_symlinks=False)
