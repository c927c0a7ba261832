"""``python -m tests.compare.listing HOST:PORT HOST:PORT``: how long a list of 10,000 files takes on two servers, in turn."""

import argparse
import statistics
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import protobuf_compat

protobuf_compat.install()

import grpc  # noqa: E402 - the imports that need the line above
from google.protobuf.wrappers_pb2 import BytesValue  # noqa: E402
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc  # noqa: E402


class Listed:
    """A repo with one commit of many small files in one directory, as a context manager."""

    def __init__(self, address: str, files: int) -> None:
        self.address, self._files = address, files
        self.seconds: list[float] = []
        self._pfs = pfs_pb2_grpc.APIStub(grpc.insecure_channel(address))
        self._repo = pfs_pb2.Repo(name=f"listing-{uuid.uuid4().hex[:8]}", type="user", project=pfs_pb2.Project(name="default"))
        self._commit = pfs_pb2.Commit(repo=self._repo, branch=pfs_pb2.Branch(repo=self._repo, name="master"))

    def __enter__(self) -> "Listed":
        self._pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=self._repo))
        self._pfs.ModifyFile(self._requests())
        self._pfs.InspectCommit(pfs_pb2.InspectCommitRequest(commit=self._commit, wait=pfs_pb2.CommitState.FINISHED))
        return self

    def __exit__(self, *_: object) -> None:
        self._pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=self._repo, force=True))

    def list(self) -> None:
        """List them once."""
        began = time.perf_counter()
        found = sum(1 for _ in self._pfs.ListFile(pfs_pb2.ListFileRequest(file=pfs_pb2.File(commit=self._commit, path="/d"))))
        self.seconds.append(time.perf_counter() - began)
        if found != self._files:
            sys.exit(f"{self.address} lists {found} files instead of {self._files}")

    def _requests(self) -> Iterator[Any]:
        yield pfs_pb2.ModifyFileRequest(set_commit=self._commit)
        for number in range(self._files):
            file = pfs_pb2.AddFile(path=f"/d/dev{number % 7}_{1_500_000_000 + number}.jpg", raw=BytesValue(value=b"%d" % number))
            yield pfs_pb2.ModifyFileRequest(add_file=file)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.compare.listing", description=__doc__)
    parser.add_argument("addresses", nargs=2, metavar="HOST:PORT")
    parser.add_argument("--files", type=int, default=10_000, help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=10, help="lists of each (default %(default)s)")
    options = parser.parse_args(argv)
    with Listed(options.addresses[0], options.files) as left, Listed(options.addresses[1], options.files) as right:
        for at in range(options.rounds):
            for server in (left, right) if at % 2 else (right, left):
                server.list()
    for server in (left, right):
        sys.stdout.write(f"{server.address}: median {statistics.median(server.seconds):.3f} s, fastest {min(server.seconds):.3f} s\n")
    sys.stdout.write(f"ratio of the medians {statistics.median(left.seconds) / statistics.median(right.seconds):.2f}\n")


if __name__ == "__main__":
    main()
