"""Real parts for the stages' tests: a worker that speaks NextDatum, a SendGrid that listens, a tiny frozen graph, images."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from PIL import Image

import protobuf_compat

protobuf_compat.install()

from python_pachyderm.proto.v2.worker import worker_pb2, worker_pb2_grpc  # noqa: E402 - after the line above


def image_bytes(kind: str = "JPEG", *, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: object) -> bytes:
    """An image whose content is not flat, so that truncating it cuts something off."""
    gradient = Image.linear_gradient("L").resize(size)
    stream = io.BytesIO()
    (gradient if mode == "L" else gradient.convert("RGB").convert(mode)).save(stream, kind, **options)
    return stream.getvalue()


class Worker(worker_pb2_grpc.WorkerServicer):
    """A Pachyderm worker with datum batching: hands out datums, notes how each ended, goes away after the last.

    :ivar outcomes: The error text of every closed datum.
    """

    def __init__(self, datums: list[Callable[[], dict[str, str]]]) -> None:
        self._datums = iter(datums)
        self.outcomes: list[str] = []
        self._first = True
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        worker_pb2_grpc.add_WorkerServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("localhost:0")
        self._server.start()

    def NextDatum(self, request, context):
        if not self._first:
            self.outcomes.append(request.error)
        self._first = False
        prepare = next(self._datums, None)
        if prepare is None:
            threading.Thread(target=self.stop).start()  # stop() waits for this very call
            context.abort(grpc.StatusCode.CANCELLED, "the worker ends")
        return worker_pb2.NextDatumResponse(env=[f"{key}={value}" for key, value in prepare().items()])

    def stop(self) -> None:
        self._server.stop(None).wait()

    def environment(self, root: Path, **more: str) -> dict[str, str]:
        """What the worker gives the program that it starts."""
        return {"PFS_ROOT": str(root), "PPS_WORKER_GRPC_PORT": str(self.port), "DATUM_BATCHING": "true", **more}


@pytest.fixture
def make_worker() -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def make(datums: list[Callable[[], dict[str, str]]]) -> Worker:
        workers.append(Worker(datums))
        return workers[-1]

    yield make
    for worker in workers:
        worker.stop()


@dataclass
class SendGrid:
    """An HTTP server in SendGrid's place.

    :ivar replies: Status, headers and body of the next answers; when there is none left it answers 202.
    :ivar mails: The requests it accepted; ``attempts`` counts all.
    """

    url: str = ""
    replies: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    mails: list[dict] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    attempts: int = 0


@pytest.fixture
def sendgrid() -> Iterator[SendGrid]:
    state = SendGrid()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v3/mail/send"
            state.attempts += 1
            state.keys.append(self.headers["Authorization"])
            status, headers, answer = state.replies.pop(0) if state.replies else (202, {}, b"")
            if status < 300:
                state.mails.append(body)
                headers = {"X-Message-Id": f"message-{len(state.mails)}", **headers}
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def write_graph(path: Path, *, classes: list[float], scores: list[float], leave_out: str = "", image_type: str = "uint8") -> Path:
    """Write a frozen graph with the Object Detection API's signature that finds the same objects in every image."""
    from stages.object_detect.detector import import_tensorflow

    tf = import_tensorflow()
    boxes = [[0.1 * index, 0.2, 0.5, 0.1 * index + 0.4] for index in range(len(scores))]
    outputs = {
        "detection_boxes": [boxes],
        "detection_scores": [scores],
        "detection_classes": [classes],
        "num_detections": [float(len(scores))],
    }
    graph = tf.Graph()
    with graph.as_default():
        tf.compat.v1.placeholder(getattr(tf, image_type), [None, None, None, 3], name="image_tensor")
        for name, value in outputs.items():
            if name != leave_out:
                tf.constant(value, tf.float32, name=name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repo: a person at 0.9, a car at 0.6 and a dog at 0.3 in every image."""
    folder = tmp_path_factory.mktemp("model")
    write_graph(folder / "frozen_inference_graph.pb", classes=[3.0, 1.0, 18.0], scores=[0.6, 0.9, 0.3])
    return folder


@pytest.fixture
def camera(tmp_path: Path) -> Callable[..., Path]:
    """Puts images into a folder, by name."""

    def put(*names: str, folder: str = "images") -> Path:
        root = tmp_path / folder
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image_bytes("PNG" if name.endswith(".png") else "JPEG"))
        return root

    return put
