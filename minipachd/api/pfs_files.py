"""PFS's calls about files."""

import asyncio
import re
import tempfile
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue
from python_pachyderm.proto.v2.pfs import pfs_pb2

from minipachd.api.admin_service import empty
from minipachd.api.dialect import Dialect
from minipachd.api.pfs_messages import FileMessages, commit_reference
from minipachd.api.tar import tar_stream
from minipachd.api.threads import Foreign, lists, overlapped, stream, to_the_end
from minipachd.errors import CommitFinishedError, InvalidError, NotFoundError, PathNotFoundError
from minipachd.pfs import Commit, CommitReference, FileEntry, FileInfo, FileKind, FileTree, Modification, Pfs, filesets, paths
from minipachd.pfs.diffs import changed_paths
from minipachd.pfs.globs import compile_glob
from minipachd.pfs.names import FILESET_REPO
from minipachd.pfs.sources import open_url, shown
from minipachd.pfs.targets import Copied, copy_to_url
from minipachd.pfs.validation import content_error
from minipachd.pfs.watch import Watch

_MAX_PAGE = 100_000
_BATCH_MESSAGES, _BATCH_BYTES = 512, 4 << 20
_MOST_SOUND = 256
_GLOB_CHARACTERS = re.compile(r"[*?\[\]{}!()@+^]")


class FileCalls:
    """A part of ``pfs_v2.API``."""

    def __init__(self, pfs: Pfs, dialect: Dialect) -> None:
        self._pfs, self._dialect = pfs, dialect
        self._sound: set[tuple[bytes, bytes]] = set()
        """Trees of open commits, each with the one that it began with, that hold no collision."""
        self._foreign = Foreign(pfs.url_seconds)

    async def ModifyFile(self, requests: AsyncIterator[Any], context: Any) -> Any:
        with self._pfs.modification() as modification:
            first = await anext(aiter(requests), None)
            if first is None or first.WhichOneof("body") != "set_commit":
                raise InvalidError("first message must be a commit")
            target = commit_reference(first.set_commit, self._dialect)
            await asyncio.to_thread(self._check_target, target)
            await overlapped(batches(requests), partial(self._gather, modification))
            await to_the_end(partial(self._apply, modification, target))
        return empty()

    async def GetFile(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.URL:
            await self._copy_matches(request)
            return

        def find() -> tuple[Commit, FileTree, FileEntry]:
            commit, files = self._files(request.file.commit, _literal(request.file.path))
            return commit, files, _single(files, request.file.path, commit)

        commit, _held, entry = await asyncio.to_thread(find)  # who holds the tree keeps its bytes, also when the commit is deleted
        empty_file = True
        async for piece in stream(self._pfs.read(entry, offset=request.offset, commit=commit), batch=1):
            empty_file = False
            yield BytesValue(value=piece)
        if empty_file:
            yield BytesValue()  # clients take the first message for granted

    async def GetFileTAR(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.URL:
            await self._copy_matches(request)
            return

        def find() -> tuple[Commit, Iterator[bytes]]:
            commit, files = self._files(request.file.commit, _literal(request.file.path))
            matches = list(_in_range(files.glob(compile_glob(request.file.path)), request))
            if not matches:
                raise PathNotFoundError(request.file.path, commit.key.repo, commit.id)
            return commit, tar_stream(self._pfs, files, matches, commit)

        _, blocks = await asyncio.to_thread(find)
        async for block in stream(blocks, batch=1):
            yield BytesValue(value=block)

    async def InspectFile(self, request: Any, context: Any) -> Any:
        def look() -> Any:
            commit, files = self._files(request.file.commit, paths.clean(request.file.path))
            info = files.info(request.file.path)
            if info is None:
                raise PathNotFoundError(request.file.path, commit.key.repo, commit.id)
            return FileMessages(commit, self._dialect).info(info)

        return await asyncio.to_thread(look)

    async def ListFile(self, request: Any, context: Any) -> AsyncIterator[Any]:
        after = _page(request)

        def look() -> Iterator[Any]:
            commit, files = self._files(request.file.commit, paths.clean(request.file.path))
            return FileMessages(commit, self._dialect).encoded(
                _some(files.list(request.file.path, after=after, reverse=request.reverse), request.number)
            )

        async for messages in lists(await asyncio.to_thread(look)):
            for message in messages:
                yield message

    async def WalkFile(self, request: Any, context: Any) -> AsyncIterator[Any]:
        after = _page(request)

        def look() -> Iterator[Any]:
            commit, files = self._files(request.file.commit, paths.clean(request.file.path))
            if paths.clean(request.file.path) != "/" and files.info(request.file.path) is None:
                raise NotFoundError(
                    f"commit/{commit.id} does not contain item: file {request.file.path} not found in repo {commit.key.repo}"
                )
            if request.reverse:
                found = [file for file in files.walk(request.file.path) if after is None or file.path < after]
                walk: Iterator[FileInfo] = reversed(found)
            else:
                walk = files.walk(request.file.path, after=after)
            return FileMessages(commit, self._dialect).encoded(_some(walk, request.number))

        async for messages in lists(await asyncio.to_thread(look)):
            for message in messages:
                yield message

    async def GlobFile(self, request: Any, context: Any) -> AsyncIterator[Any]:
        ended = threading.Event()
        watch = Watch(ended.is_set)

        def look() -> Iterator[Any]:
            commit, files = self._files(request.commit, _literal(request.pattern))
            found = files.glob(compile_glob(request.pattern).watched(watch.look))
            return FileMessages(commit, self._dialect).encoded(_in_range(found, request))

        try:
            async for messages in lists(await asyncio.to_thread(look)):
                for message in messages:
                    yield message
        finally:
            ended.set()  # the thread ends too, though nothing may match for long

    async def DiffFile(self, request: Any, context: Any) -> AsyncIterator[Any]:
        def look() -> Iterator[Any]:
            new_commit, new = self._files(request.new_file.commit, paths.clean(request.new_file.path))
            old_path = request.new_file.path
            if request.HasField("old_file"):
                old_commit, old = self._files(request.old_file.commit, paths.clean(request.old_file.path))
                old_path = request.old_file.path
            else:
                with self._pfs.snapshot() as view:
                    old_commit = new_commit if new_commit.parent is None else view.commit(new_commit.parent)
                old = self._pfs.files(b"" if new_commit.parent is None else old_commit.root)
            return self._diff(
                FileMessages(new_commit, self._dialect),
                new,
                request.new_file.path,
                FileMessages(old_commit, self._dialect),
                old,
                old_path,
                request.shallow,
            )

        async for message in stream(await asyncio.to_thread(look)):
            yield message

    def _diff(
        self,
        new_messages: FileMessages,
        new: FileTree,
        new_path: str,
        old_messages: FileMessages,
        old: FileTree,
        old_path: str,
        shallow: bool,
    ) -> Iterator[Any]:
        for after, before in changed_paths(new, new_path, old, old_path):
            shown = after or before
            if shallow and shown is not None and paths.clean(shown.path).count("/") > paths.as_directory(paths.clean(new_path)).count("/"):
                continue
            yield pfs_pb2.DiffFileResponse(
                new_file=None if after is None else new_messages.info(after), old_file=None if before is None else old_messages.info(before)
            )

    async def _copy_matches(self, request: Any) -> None:
        """What GetFile and GetFileTAR do with a URL: everything that matches is written below it, under its path."""

        def find() -> tuple[FileTree, list[FileEntry]]:
            commit, files = self._files(request.file.commit, _literal(request.file.path))
            matches = list(_in_range(files.glob(compile_glob(request.file.path)), request))
            if not matches:
                raise PathNotFoundError(request.file.path, commit.key.repo, commit.id)
            return files, list({entry.path: entry for match in matches for entry in files.entries(match.path)}.values())

        _held, entries = await asyncio.to_thread(find)
        await self._copy_out(request.URL, entries)

    async def _copy_out(self, url: str, entries: Iterable[FileEntry]) -> Copied:
        def copy(ended: threading.Event) -> Copied:
            with tempfile.TemporaryDirectory(dir=self._pfs.tmp, prefix="egress-", ignore_cleanup_errors=True) as tmp:
                return copy_to_url(url, entries, self._pfs.write_to, tmp=Path(tmp), local=self._pfs.local_files, cancelled=ended.is_set)

        return await self._foreign.run(copy, name=shown(url))

    def _files(self, message: Any, prefix: str | None = None) -> tuple[Commit, FileTree]:
        """A commit and what it holds.

        :param prefix: What is going to be read begins so; None when nothing is shown of it.
        :raises InvalidError: This dialect refuses to show it.
        """
        reference = commit_reference(message, self._dialect)
        with self._pfs.snapshot() as view:
            if reference.repo.name == FILESET_REPO:
                commit = filesets.as_commit(filesets.find(view, reference.id), reference.repo.project)
            else:
                commit = view.resolve(reference)
            files = view.files(commit)
            if prefix is not None and self._dialect.checks_reads and (not commit.finished or commit.error):
                base = view.tree(view.base_root(commit))
                self._check_sound(files, base, prefix)
            return commit, files

    def _check_sound(self, files: FileTree, base: FileTree, prefix: str) -> None:
        if (files.root, base.root) in self._sound:
            return
        if content_error(files, base):
            if error := content_error(files, base, prefix):
                raise InvalidError(error)
            return
        if len(self._sound) >= _MOST_SOUND:
            self._sound.clear()
        self._sound.add((files.root, base.root))

    def _check_target(self, target: CommitReference) -> None:
        """Fail before gigabytes have come in, not after."""
        if not target.id and not target.branch:
            raise InvalidError(f"a commit of {target.repo} must be specified by its id or by a branch")
        with self._pfs.snapshot() as view:
            view.repo_row(target.repo)
            if target.id and target.ancestry is None and (commit := view.resolve(target)).finished:
                raise CommitFinishedError(commit)

    async def _gather(self, modification: Modification, batch: list[tuple[Any, bytes]]) -> None:
        if is_fetch(batch[0][0]):
            await self._fetch(modification, batch[0][0].add_file)
        else:
            await to_the_end(partial(self._gather_content, modification, batch))

    def _gather_content(self, modification: Modification, batch: list[tuple[Any, bytes]]) -> None:
        for request, data in batch:
            match request.WhichOneof("body"):
                case "add_file":
                    modification.add(request.add_file.path, request.add_file.datum, data)
                case "delete_file":
                    modification.delete(request.delete_file.path, request.delete_file.datum)
                case "copy_file":
                    self._copy(modification, request.copy_file)
                case "set_commit":
                    raise InvalidError("cannot set commit: only the first message may")
                case _:
                    raise InvalidError("a message of ModifyFile must be specified with one of add_file, delete_file, copy_file")

    async def _fetch(self, modification: Modification, add: Any) -> None:
        """Add what is behind a URL. Only its bytes are handed to the threads that answer calls, never the wait for them."""

        def read(ended: threading.Event) -> Iterator[tuple[str, bytes]]:
            for source in open_url(add.url.URL, recursive=add.url.recursive, local=self._pfs.local_files):
                yield source.name, b""
                for piece in source.pieces:
                    if ended.is_set():
                        return
                    yield source.name, piece

        async with aclosing(self._foreign.stream(read, name=shown(add.url.URL))) as pieces:
            async for name, piece in pieces:
                path = f"{add.path}/{name}" if name else add.path
                await to_the_end(partial(modification.add, path, add.datum, piece))

    def _copy(self, modification: Modification, copy: Any) -> None:
        _, files = self._files(copy.src.commit)
        source, target = paths.clean(copy.src.path), paths.clean(copy.dst)
        pieces = [piece for piece in files.pieces(source) if copy.src.datum in ("", piece.tag)]
        prefix = "" if source == "/" else source
        replaced: set[str] = set()
        for piece in pieces:
            path = (target if target != "/" else "") + piece.path.removeprefix(prefix)
            if not copy.append and path not in replaced:
                modification.delete(path, copy.datum)
                replaced.add(path)
            modification.add_stored(path, copy.datum, piece)

    def _apply(self, modification: Modification, target: CommitReference) -> None:
        appends = list(modification.appends())
        modification.upload.seal()
        with self._pfs.transaction() as txn:
            commit, started = txn.open_for_writing(target)
            txn.write_files(commit.key, upload=modification.upload, delete=modification.deletes(), append=appends)
            if started:
                txn.finish_commit(commit.key)  # whose error says when this is not what a commit may hold


async def batches(requests: AsyncIterator[Any]) -> AsyncIterator[list[tuple[Any, bytes]]]:
    """Messages in lists, so that tiny ones do not cost a thread's hop each; with their bytes, which each look at the field would copy.

    Those that have the server fetch something are alone in theirs.
    """
    batch: list[tuple[Any, bytes]] = []
    held = 0
    async for request in requests:
        data = request.add_file.raw.value
        if not data and is_fetch(request):
            if batch:
                yield batch
            yield [(request, data)]
            batch, held = [], 0
            continue
        batch.append((request, data))
        held += len(data)
        if len(batch) >= _BATCH_MESSAGES or held >= _BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def is_fetch(request: Any) -> bool:
    """Whether a message has the server fetch content from a URL."""
    return bool(request.WhichOneof("body") == "add_file" and request.add_file.WhichOneof("source") == "url")


def _single(files: FileTree, pattern: str, commit: Commit) -> FileEntry:
    """The one regular file that a pattern means."""
    entry = files.get(pattern)
    if entry is not None:
        return entry
    matches = list(islice(files.glob(compile_glob(pattern)), 2))
    if not matches:
        raise PathNotFoundError(pattern, commit.key.repo, commit.id)
    if len(matches) > 1:
        raise InvalidError(f"{pattern} matched multiple files. Use GetFileTAR instead, or a pattern that matches one")
    found = files.get(matches[0].path) if matches[0].kind is FileKind.FILE else None
    if found is None:
        raise InvalidError(f"cannot get directory {matches[0].path} as a file. Use GetFileTAR instead")
    return found


def _literal(pattern: str) -> str:
    """What every match of a pattern begins with."""
    return _GLOB_CHARACTERS.split(paths.clean(pattern), maxsplit=1)[0]


def _page(request: Any) -> str | None:
    """The marker of a listing that goes on where an earlier one ended."""
    if request.number > _MAX_PAGE:
        raise InvalidError(f"cannot list more than {_MAX_PAGE} files at a time: number is {request.number}")
    if request.reverse and request.number <= 0:
        raise InvalidError("number must be > 0 when reverse is set")
    return request.paginationMarker.path or None if request.HasField("paginationMarker") else None


def _some(files: Iterator[FileInfo], number: int) -> Iterator[FileInfo]:
    return islice(files, number) if number > 0 else files


def _in_range(files: Iterator[FileInfo], request: Any) -> Iterator[FileInfo]:
    lower, upper = request.path_range.lower, request.path_range.upper
    return (file for file in files if (not lower or file.path >= lower) and (not upper or file.path < upper))
