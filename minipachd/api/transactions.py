"""Calls that may be part of a transaction, and the transactions themselves.

A call that carries the metadata ``pach-transaction`` is not executed but appended to that transaction, after a rehearsal of the whole list
that is undone again; FinishTransaction executes the list in one transaction of the engine, under the transaction's id.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from python_pachyderm.proto.v2.transaction import transaction_pb2, transaction_pb2_grpc

from minipachd.api import newer
from minipachd.api.pfs_messages import timestamp
from minipachd.errors import InvalidError, MinipachdError, NotFoundError
from minipachd.pfs import CommitSetId, Pfs, Txn
from minipachd.pfs.names import new_id

Action = Callable[[Txn, Any], Any]
"""Executes one request inside a transaction and returns the RPC's answer."""

_METADATA = "pach-transaction"


class Transactions:
    """Knows how to execute the calls that can be joined: one action for each field of ``TransactionRequest``."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs
        self._actions: dict[str, Action] = {}

    def register(self, field: str, action: Action) -> None:
        """:param field: Of ``TransactionRequest``, such as ``create_repo``; of the older or of the newer one."""
        self._actions[field] = action

    async def perform(self, field: str, request: Any, context: Any) -> Any:
        """Execute a request now, or append it to the transaction that the call's metadata names.

        :raises NotFoundError: There is no such transaction.
        """
        name = next((str(value) for key, value in context.invocation_metadata() if key == _METADATA and value), None)
        if name is None:
            return await asyncio.to_thread(self._now, field, request)
        return await asyncio.to_thread(self._append, name, _joined(field, request))

    def start(self) -> Any:
        """A new empty transaction."""
        name = new_id()
        with self._pfs.transaction() as txn:
            (last,) = txn.db.execute("SELECT coalesce(max(seq), 0) FROM transactions").fetchone()
            txn.db.execute("INSERT INTO transactions VALUES (?, ?, ?, ?, ?)", (name, last + 1, time.time_ns(), _encode([]), _encode([])))
        return transaction_pb2.Transaction(id=name)

    def inspect(self, name: str) -> Any:
        """:raises NotFoundError: There is no such transaction."""
        with self._pfs.snapshot() as view:
            return _info(name, *_row(view.db, name))

    def list_open(self) -> Any:
        """The open ones, oldest first."""
        with self._pfs.snapshot() as view:
            rows = view.db.execute("SELECT id, started_ns, requests, responses FROM transactions ORDER BY seq")
            return transaction_pb2.TransactionInfos(transaction_info=[_info(*row) for row in rows])

    def delete(self, name: str) -> None:
        """:raises NotFoundError: There is no such transaction."""
        with self._pfs.transaction() as txn:
            _row(txn.db, name)
            txn.db.execute("DELETE FROM transactions WHERE id = ?", (name,))

    def delete_all(self) -> None:
        """Forget every open transaction."""
        with self._pfs.transaction() as txn:
            txn.db.execute("DELETE FROM transactions")

    def finish(self, name: str) -> Any:
        """Execute the list, all of it or nothing; in the latter case the transaction stays open."""
        with self._pfs.transaction(set_id=CommitSetId(name)) as txn:
            started_ns, requests, _ = _row(txn.db, name)
            responses = self._execute(txn, _requests(requests))
            txn.db.execute("DELETE FROM transactions WHERE id = ?", (name,))
        return _info(name, started_ns, requests, _encode(responses))

    def batch(self, requests: Sequence[Any]) -> Any:
        """Execute a list that was never appended to anything."""
        name, started_ns = new_id(), time.time_ns()
        with self._pfs.transaction(set_id=name) as txn:
            responses = self._execute(txn, requests)
        return _info(name, started_ns, _encode(requests), _encode(responses))

    def _now(self, field: str, request: Any) -> Any:
        with self._pfs.transaction() as txn:
            return self._actions[field](txn, request)

    def _append(self, name: str, request: Any) -> Any:
        while True:
            with self._pfs.snapshot() as view:
                _, before, _ = _row(view.db, name)
            requests = [*_requests(before), request]
            answers: list[Any] = []
            with self._pfs.rehearsal(set_id=CommitSetId(name)) as txn:
                responses = self._execute(txn, requests, answers)
            with self._pfs.transaction() as txn:
                if _row(txn.db, name)[1] == before:  # else another call was appended meanwhile: rehearse again
                    txn.db.execute(
                        "UPDATE transactions SET requests = ?, responses = ? WHERE id = ?", (_encode(requests), _encode(responses), name)
                    )
                    return answers[-1]

    def _execute(self, txn: Txn, requests: Sequence[Any], answers: list[Any] | None = None) -> list[Any]:
        responses: list[Any] = []
        for at, request in enumerate(requests):
            answer = self._run(txn, request, at, len(requests))
            if answers is not None:
                answers.append(answer)
            response = transaction_pb2.TransactionResponse()
            if request.HasField("start_commit"):
                response.commit.CopyFrom(answer)
            responses.append(response)
        return responses

    def _run(self, txn: Txn, request: Any, at: int, total: int) -> Any:
        calls = [(field.name, call) for field, call in (*request.ListFields(), *newer.parsed(request).ListFields())]
        if len(calls) != 1 or calls[0][0] not in self._actions:
            named = ", ".join(name for name, _ in calls) or "nothing"
            raise InvalidError(
                f"error running request {at + 1} of {total}: it must have exactly one call that transactions know, and has {named}"
            )
        try:
            name, call = calls[0]
            return self._actions[name](txn, call)
        except MinipachdError as exc:
            if total > 1:
                exc.args = (f"error running request {at + 1} of {total}: {exc}",)
            raise


class TransactionService(transaction_pb2_grpc.APIServicer):  # type: ignore[misc] # generated code has no types
    """``transaction_v2.API``."""

    def __init__(self, transactions: Transactions, empty: Callable[[], Any]) -> None:
        self._transactions, self._empty = transactions, empty

    async def StartTransaction(self, request: Any, context: Any) -> Any:
        return await asyncio.to_thread(self._transactions.start)

    async def InspectTransaction(self, request: Any, context: Any) -> Any:
        return await asyncio.to_thread(self._transactions.inspect, request.transaction.id)

    async def ListTransaction(self, request: Any, context: Any) -> Any:
        return await asyncio.to_thread(self._transactions.list_open)

    async def DeleteTransaction(self, request: Any, context: Any) -> Any:
        await asyncio.to_thread(self._transactions.delete, request.transaction.id)
        return self._empty()

    async def FinishTransaction(self, request: Any, context: Any) -> Any:
        return await asyncio.to_thread(self._transactions.finish, request.transaction.id)

    async def BatchTransaction(self, request: Any, context: Any) -> Any:
        return await asyncio.to_thread(self._transactions.batch, list(request.requests))

    async def DeleteAll(self, request: Any, context: Any) -> Any:
        await asyncio.to_thread(self._transactions.delete_all)
        return self._empty()


def _joined(field: str, request: Any) -> Any:
    """One call as a TransactionRequest; a field that python-pachyderm does not know stays in it unread."""
    if field in transaction_pb2.TransactionRequest.DESCRIPTOR.fields_by_name:
        return transaction_pb2.TransactionRequest(**{field: request})
    wrapped = newer.message("transaction_v2.TransactionRequest")(**{field: request})
    return transaction_pb2.TransactionRequest.FromString(wrapped.SerializeToString())


def _row(connection: Any, name: str) -> tuple[int, bytes, bytes]:
    row = connection.execute("SELECT started_ns, requests, responses FROM transactions WHERE id = ?", (name,)).fetchone()
    if row is None:
        raise NotFoundError(f"transactions {name} not found")
    return row  # type: ignore[no-any-return]


def _encode(messages: Sequence[Any]) -> bytes:
    return msgspec.msgpack.encode([message.SerializeToString() for message in messages])


def _requests(data: bytes) -> list[Any]:
    return [transaction_pb2.TransactionRequest.FromString(item) for item in msgspec.msgpack.decode(data, type=list[bytes])]


def _info(name: str, started_ns: int, requests: bytes, responses: bytes) -> Any:
    decoded = _requests(requests)
    return transaction_pb2.TransactionInfo(
        transaction=transaction_pb2.Transaction(id=name),
        requests=decoded,
        responses=[transaction_pb2.TransactionResponse.FromString(item) for item in msgspec.msgpack.decode(responses, type=list[bytes])],
        started=timestamp(started_ns),
        version=len(decoded),
    )
