"""Lists that go on, and streams that come in, for asyncio."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, AsyncIterator, Callable, Generic, Optional, Tuple, Type, TypeVar

from .. import _http
from .._call import Query
from .._link import Pauses
from ..errors import NotFound, NotRunning, Unreachable
from ..follow import parsed
from ..records import Caller
from ..streams import LISTEN, PROTOCOL, TAKE, incoming
from . import _link

T = TypeVar("T")


class Follow(AsyncIterator[T], Generic[T]):
    """JSON lines of the daemon as records. For one task; `close` may be called by another. See `pilot.Follow`."""

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
        self._closed = asyncio.Event()
        self._writer: Optional[asyncio.StreamWriter] = None
        self._lines: Optional[AsyncIterator[bytes]] = None

    def __aiter__(self) -> Follow[T]:
        return self

    async def __anext__(self) -> T:
        while not self._closed.is_set():
            try:
                if self._lines is not None:
                    async for line in self._lines:
                        return self._record(line)
            except NotRunning:
                pass
            await self._return()
        raise StopAsyncIteration

    async def close(self) -> None:
        """Ends it: the iteration stops."""
        self._closed.set()
        if self._writer is not None:
            self._writer.close()

    async def __aenter__(self) -> Follow[T]:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Begins to follow."""
        request = _http.request("GET", self._call, self._query, headers={"accept": "application/x-ndjson"})
        (reader, self._writer), answer, begun = await _link.begin(self._path, request, 200, self._timeout)
        self._lines = _link.lines(self._path, reader, answer, begun)

    def _record(self, line: bytes) -> T:
        record = self._parse(parsed(line))
        if self._resume is not None:
            self._query = self._resume(record)
        return record

    async def _return(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._lines = None
        pauses = Pauses()
        while await _link.pause(pauses.next(), self._closed):
            try:
                return await self.open()
            except (ConnectionError, TimeoutError):
                continue


class Listener(AsyncIterator[Tuple[asyncio.StreamReader, asyncio.StreamWriter, Caller]]):
    """Streams to a port of this node: each a reader, a writer, and who called. Listens until `close`."""

    def __init__(self, path: str, timeout: float, port: int) -> None:
        self._path = path
        self._timeout = timeout
        self._incoming = Follow(path, timeout, LISTEN, (("port", port),), incoming)

    async def open(self) -> None:
        """Begins to listen."""
        await self._incoming.open()

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter, Caller]:
        async for stream, caller in self._incoming:
            request = _http.upgrade(TAKE, PROTOCOL, (("stream", stream),))
            try:
                reader, writer = await _link.upgrade(self._path, request, self._timeout)
            except (NotFound, Unreachable):
                # The caller went away before we took it.
                continue
            return reader, writer, caller
        raise StopAsyncIteration

    async def close(self) -> None:
        """Ends listening; streams that were taken go on."""
        await self._incoming.close()

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()
