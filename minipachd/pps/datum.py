"""A datum: the unit of work, of skipping and of output ownership.

Its id says *what* it reads, its hash also *which bytes* and for *which code*.
"""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from minipachd.pps.spec import DatumId, DatumState, JobId
from minipachd.storage import EMPTY_ROOT, NodeStore, Tree


class DatumInput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One matched file or directory of an input.

    :ivar commit_id: The commit that is read, after aliases are resolved.
    :ivar path: Absolute in the repo; a directory ends in a slash.
    :ivar hash: The content's hash, 32 bytes.
    """

    name: str
    project: str
    repo: str
    repo_type: str
    branch: str
    commit_id: str
    path: str
    hash: bytes
    size: int
    join_on: str = ""
    group_by: str = ""
    outer_join: bool = False
    lazy: bool = False
    empty_files: bool = False


class Datum(msgspec.Struct, frozen=True):
    """A datum as its inputs define it; the order of the inputs is part of its identity."""

    id: DatumId
    inputs: tuple[DatumInput, ...]


class DatumStats(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one datum, or all of a job, cost. Times are nanoseconds."""

    download_ns: int = 0
    process_ns: int = 0
    upload_ns: int = 0
    download_bytes: int = 0
    upload_bytes: int = 0

    def __add__(self, other: "DatumStats") -> "DatumStats":
        return DatumStats(
            download_ns=self.download_ns + other.download_ns,
            process_ns=self.process_ns + other.process_ns,
            upload_ns=self.upload_ns + other.upload_ns,
            download_bytes=self.download_bytes + other.download_bytes,
            upload_bytes=self.upload_bytes + other.upload_bytes,
        )


class DatumRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a datum that a job has settled.

    :ivar job: The job that ran it; a later job that skips it keeps this record as it is.
    :ivar hash: See :func:`datum_hash`.
    :ivar outputs: Paths of its output files; they lie in the output commit under the tag ``id``.
    """

    id: DatumId
    job: JobId
    hash: bytes
    state: DatumState
    inputs: tuple[DatumInput, ...]
    outputs: tuple[str, ...] = ()
    reason: str = ""
    stats: DatumStats = DatumStats()


_BITS_PER_LEVEL = 3  # a record has some 500 bytes, and new ones lie anywhere between the others
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(DatumRecord)


def encode_record(record: DatumRecord) -> bytes:
    return _encoder.encode(record)


def decode_record(data: bytes) -> DatumRecord:
    return _decoder.decode(data)


def record_tree(nodes: NodeStore, root: bytes | None) -> Tree:
    """Records by the ids of their datums; the weight of one is 1 unless it is a success.

    :param root: As a job has it; None while it has none.
    """
    return Tree(nodes, root or EMPTY_ROOT, bits=_BITS_PER_LEVEL)


def make_datum(inputs: Iterable[DatumInput]) -> Datum:
    """The datum of these inputs, in this order."""
    ordered = tuple(inputs)
    return Datum(datum_id(ordered), ordered)


def datum_id(inputs: Sequence[DatumInput]) -> DatumId:
    """The protocol's id: BLAKE2b-256 over name, repo, branch and path of every input, each followed by its length."""
    digest = hashlib.blake2b(digest_size=32)
    for part in inputs:
        for text in (part.name, part.repo, part.branch, part.path):
            data = text.encode()
            digest.update(data + len(data).to_bytes(8, "big"))
    return DatumId(digest.hexdigest())


def datum_hash(datum: Datum, *, salt: str) -> bytes:
    """Equal hashes mean equal results: same inputs, same bytes, same salt (which a ``reprocess`` changes)."""
    digest = hashlib.blake2b(datum.id.encode(), digest_size=32)
    for part in datum.inputs:
        digest.update(part.hash)
    digest.update(salt.encode())
    return digest.digest()
