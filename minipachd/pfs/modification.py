"""The operations of one ModifyFile stream, gathered before anything is applied."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from minipachd.pfs import paths
from minipachd.pfs.types import DEFAULT_TAG, FileEntry
from minipachd.pfs.upload import Content, Upload

_MEMORY_BYTES = 16 << 20
"""Above this, what has been in memory longest goes to the pack: clients may interleave appends to any number of files. Bit by bit, so that
hashing and writing keep pace with what comes in instead of holding it up every so often."""


class Modification:
    """Puts, appends, deletes and copies in the order of a stream, as deletions from the commit followed by appends to what is left.

    Nothing touches the commit before :meth:`Txn.write_files`; a context manager that drops everything unless it was recorded.
    """

    def __init__(self, upload: Upload) -> None:
        self.upload = upload
        self._deleted: dict[tuple[str, str], None] = {}
        self._added: dict[tuple[str, str], Content] = {}
        self._last: tuple[str, str] | None = None
        self._last_content: Content | None = None
        self._unflushed: dict[Content, None] = {}
        self._pending = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.upload.__exit__(kind, error, trace)

    @property
    def empty(self) -> bool:
        return not self._deleted and not self._added

    def add(self, path: str, tag: str, data: bytes) -> None:
        """Append to a file; with no bytes, just make it exist. Called once for each message: a line of a file, at worst.

        :raises InvalidError: No file may have this path.
        """
        content = self._last_content
        if content is None or (path, tag) != self._last:
            content = self._last_content = self._content(path, tag)
            self._last = (path, tag)
        before = content.pending_bytes
        content.append(data)
        self._grown(content, before)

    def add_stored(self, path: str, tag: str, entry: FileEntry) -> None:
        """Append a stored file's content; nothing is copied where chunks can be shared.

        :raises InvalidError: No file may have this path.
        """
        self._last_content = None
        content = self._content(path, tag)
        before = content.pending_bytes
        content.append_stored(entry)
        self._grown(content, before)

    def delete(self, path: str, tag: str) -> None:
        """Remove a file or, with a slash at the path's end, everything below a directory; also what this stream has added there so far.

        :raises InvalidError: No file may have this path.
        """
        paths.check(path)
        self._last_content = None
        tag = tag or DEFAULT_TAG
        cleaned = paths.clean(path)
        below = path.endswith("/") or cleaned == "/"
        self._deleted[(paths.as_directory(cleaned) if below else cleaned, tag)] = None
        if not below:
            self._added.pop((cleaned, tag), None)
        elif self._added:
            start = paths.as_directory(cleaned)
            for key in [key for key in self._added if key[1] == tag and key[0].startswith(start)]:
                del self._added[key]

    def deletes(self) -> Iterable[tuple[str, str]]:
        """What to remove from the commit first: (path, tag), directories with a slash at their end."""
        return self._deleted

    def appends(self) -> Iterator[FileEntry]:
        """What to append then."""
        for (path, tag), content in self._added.items():
            yield content.entry(path, tag)

    def _content(self, path: str, tag: str) -> Content:
        paths.check(path)
        key = (paths.clean(path), tag or DEFAULT_TAG)
        content = self._added.get(key)
        if content is None:
            content = self._added[key] = self.upload.content()
        return content

    def _grown(self, content: Content, before: int) -> None:
        """Count what a content holds in memory now, in place of ``before``, and let go of the oldest when it is too much in all."""
        self._unflushed[content] = None
        self._pending += content.pending_bytes - before
        while self._pending > _MEMORY_BYTES:
            oldest = next(iter(self._unflushed))
            del self._unflushed[oldest]
            self._pending -= oldest.pending_bytes
            oldest.flush()
