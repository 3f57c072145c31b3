"""Lists that go on: each entry, and then each new one, blocking."""

from __future__ import annotations

import json
import socket
import threading
from types import TracebackType
from typing import Any, Callable, Generic, Iterator, Optional, Type, TypeVar

from . import _http, _link
from ._call import Query
from .errors import NotRunning, PilotError

T = TypeVar("T")


class Follow(Iterator[T], Generic[T]):
    """JSON lines of the daemon as records. For one thread; `close` may be called by another.

    When the daemon restarts it waits, and goes on with the query that `resume` makes of the last record.
    """

    def __init__(
        self,
        path: str,
        timeout: float,
        call: str,
        query: Query,
        parse: Callable[[Any], T],
        resume: Optional[Callable[[T], Query]] = None,
    ) -> None:
        self._path = path
        self._timeout = timeout
        self._call = call
        self._query = query
        self._parse = parse
        self._resume = resume
        self._closed = threading.Event()
        self._open()

    def __iter__(self) -> Follow[T]:
        return self

    def __next__(self) -> T:
        while not self._closed.is_set():
            try:
                for line in self._lines:
                    return self._record(line or b"null")
            except NotRunning:
                pass
            self._return()
        raise StopIteration

    def close(self) -> None:
        """Ends it: the iteration stops."""
        self._closed.set()
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()

    def __enter__(self) -> Follow[T]:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _record(self, line: bytes) -> T:
        record = self._parse(parsed(line))
        if self._resume is not None:
            self._query = self._resume(record)
        return record

    def _open(self) -> None:
        self._socket = _link.connect(self._path, self._timeout)
        request = _http.request("GET", self._call, self._query, headers={"accept": "application/x-ndjson"})
        self._lines = _link.lines(self._path, self._socket, request)
        try:
            next(self._lines)
        except PilotError:
            self._socket.close()
            raise

    def _return(self) -> None:
        self._socket.close()
        pauses = _link.Pauses()
        while not self._closed.wait(pauses.next()):
            try:
                return self._open()
            except (ConnectionError, TimeoutError):
                continue


def parsed(line: bytes) -> Any:
    """The value of a line; raises the error that it may be instead."""
    value = json.loads(line)
    if isinstance(value, dict) and value.get("status") == "error":
        _http.result(500, line)
    return value
