"""Small images of large ones, made by a process of its own: what an image does to its decoder, it does not do to Airflow's API server."""

import subprocess
import sys
import threading
from collections import OrderedDict
from typing import IO, Final

from airflow_pachyderm.dashboard import models, thumbnailer
from airflow_pachyderm.dashboard.errors import NotThereError
from airflow_pachyderm.dashboard.files import content_type, read_blocks
from airflow_pachyderm.dashboard.gateway import Gateway

MEDIA_TYPE: Final = "image/webp"
_MAX_BYTES: Final = 32 << 20
_CACHE_BYTES: Final = 32 << 20
_SECONDS: Final = 30.0


class Thumbnails:
    """Thumbnails by the digest of the large image; the last used stay in memory.

    One image at a time is read and decoded: the page asks for dozens at once, and Airflow's API server has other work.
    """

    def __init__(self, *, max_bytes: int = _CACHE_BYTES, seconds: float = _SECONDS) -> None:
        self._max_bytes, self._seconds = max_bytes, seconds
        self._held_bytes = 0
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def held(self, digest: str) -> bytes | None:
        """A thumbnail that was made before."""
        with self._lock:
            if digest in self._held:
                self._held.move_to_end(digest)
            return self._held.get(digest)

    def get(self, gateway: Gateway, file: models.FileRef) -> bytes:
        """A thumbnail as WebP.

        :raises NotThereError: The file is no image, or takes more to decode than there is for it.
        """
        if (made := self.held(file.digest)) is not None:
            return made
        if file.size_bytes > _MAX_BYTES:
            raise NotThereError(f"{file.path} is too large for a thumbnail")
        with self._decoding:
            made = self.held(file.digest) or self._made(b"".join(read_blocks(gateway, file)), file.path)
        self._hold(file.digest, made)
        return made

    def close(self) -> None:
        """End the process; a later thumbnail starts another one."""
        with self._decoding:
            self._end()

    def _made(self, content: bytes, path: str) -> bytes:
        if not content_type(content[:4096], path).startswith("image/"):
            raise NotThereError(f"{path} is no image")
        process = self._started()
        assert process.stdin is not None  # noqa: S101 - started with pipes
        assert process.stdout is not None  # noqa: S101
        alarm = threading.Timer(self._seconds, process.kill)
        alarm.start()
        try:
            process.stdin.write(thumbnailer.LENGTH.pack(len(content)))
            process.stdin.write(content)
            process.stdin.flush()
            kind = process.stdout.read(1)
            answer = _whole(process.stdout, *thumbnailer.LENGTH.unpack(_whole(process.stdout, thumbnailer.LENGTH.size)))
        except (OSError, EOFError):
            self._end()
            raise NotThereError(f"{path} takes too long, or too much memory, to be decoded for a thumbnail") from None
        finally:
            alarm.cancel()
        if kind in (thumbnailer.MADE_LAST, thumbnailer.REFUSED_LAST):
            self._end()
        if kind in (thumbnailer.REFUSED, thumbnailer.REFUSED_LAST):
            raise NotThereError(f"{path} {answer.decode()}")
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            command = [sys.executable, "-I", thumbnailer.__file__]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={})
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    _close(pipe)

    def _hold(self, digest: str, content: bytes) -> None:
        with self._lock:
            if digest not in self._held:
                self._held[digest] = content
                self._held_bytes += len(content)
            while self._held_bytes > self._max_bytes:
                self._held_bytes -= len(self._held.popitem(last=False)[1])


def _whole(stream: IO[bytes], size: int) -> bytes:
    """:raises EOFError: The process has ended."""
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:  # what was not sent yet
        return
