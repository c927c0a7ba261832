"""A real HTTP source of images that can be made to stall in the middle of a file, so that a test can act exactly then."""

import http.server
import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class ImageSite:
    """Serves a folder on loopback. After :meth:`stall_on`, the first request for that file gets half of it and then waits.

    :ivar stalled: Set while a request waits.
    """

    def __init__(self, folder: Path) -> None:
        self.stalled = threading.Event()
        self._resume = threading.Event()
        self._stall_on = ""
        site = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

            def log_message(self, *_: object) -> None: ...

            def copyfile(self, source, outputfile) -> None:  # type: ignore[no-untyped-def]
                content = source.read()
                if self.path.endswith(site._stall_on or "\0") and not site.stalled.is_set():
                    outputfile.write(content[: len(content) // 2])
                    outputfile.flush()
                    site.stalled.set()
                    site._resume.wait(timeout=120)
                    content = content[len(content) // 2 :]
                try:
                    outputfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client was killed: that is what the test is about

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stall_on(self, name: str) -> None:
        self._stall_on = name
        self.stalled.clear()
        self._resume.clear()

    def resume(self) -> None:
        self._resume.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._resume.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
