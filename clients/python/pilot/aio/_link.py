"""Connections to the local socket, for asyncio: calls, upgrades, frames."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, List, Tuple, TypeVar

from .. import _http
from .._call import Call
from .._link import MAX_BODY, READ, too_slow, unreachable
from .._wire import Batch, Frames
from ..errors import PilotError, broken

T = TypeVar("T")
Streams = Tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(path: str) -> Streams:
    """A connection to the daemon."""
    try:
        return await asyncio.open_unix_connection(path, limit=READ)
    except OSError as problem:
        raise unreachable(path, problem) from None


async def ask(path: str, call: Call[T], timeout: float) -> T:
    """Asks, and reads the answer."""
    patience = timeout + call.patience
    reader, writer = await connect(path)
    try:
        writer.write(call.encode())
        answer = _http.Answer()
        body = await asyncio.wait_for(_body(reader, answer, b""), patience)
    except asyncio.TimeoutError:
        raise too_slow(path, patience) from None
    except (OSError, ValueError) as problem:
        raise broken(path, problem) from None
    finally:
        writer.close()
    return call.read(_http.result(answer.status, body))


async def _body(reader: asyncio.StreamReader, answer: _http.Answer, begun: bytes) -> bytes:
    body = bytearray(begun)
    while not answer.done:
        body += answer.feed(await reader.read(READ))
        if len(body) > MAX_BODY:
            raise ValueError("the answer does not end")
    return bytes(body)


async def lines(path: str, reader: asyncio.StreamReader, answer: _http.Answer, begun: bytes) -> AsyncIterator[bytes]:
    """The JSON lines of an answer, until the daemon ends them."""
    body = bytearray(begun)
    try:
        while True:
            *whole, rest = bytes(body).split(b"\n")
            for line in whole:
                if line.strip():
                    yield line
            body[:] = rest
            if answer.done or len(body) > MAX_BODY:
                return
            body += answer.feed(await reader.read(READ))
    except (OSError, ValueError) as problem:
        if isinstance(problem, PilotError):
            raise
        raise broken(path, problem) from None


async def begin(path: str, request: bytes, status: int, timeout: float) -> Tuple[Streams, _http.Answer, bytes]:
    """Asks for an answer that goes on: gives its connection, its head, and what came of its body.

    Raises the refusal where the status is another one.
    """
    streams = await connect(path)
    try:
        streams[1].write(request)
        answer, begun = await asyncio.wait_for(_begun(streams[0], status), timeout)
        return streams, answer, begun
    except BaseException as problem:
        streams[1].close()
        if isinstance(problem, PilotError):
            raise
        if isinstance(problem, asyncio.TimeoutError):
            raise too_slow(path, timeout) from None
        if isinstance(problem, (OSError, ValueError, asyncio.IncompleteReadError)):
            raise broken(path, problem) from None
        raise


async def _begun(reader: asyncio.StreamReader, status: int) -> Tuple[_http.Answer, bytes]:
    answer = _http.Answer()
    # Up to the empty line and no further: with 101 the rest is of another protocol.
    begun = answer.feed(await reader.readuntil(b"\r\n\r\n"))
    if answer.status != status:
        _http.result(answer.status, await _body(reader, answer, begun))
        raise ValueError(f"HTTP {answer.status} instead of {status}")
    return answer, begun


async def upgrade(path: str, request: bytes, timeout: float) -> Streams:
    """A connection that goes on with another protocol, which has not begun yet."""
    return (await begin(path, request, 101, timeout))[0]


class Link:
    """A link of frames to the daemon's bus."""

    def __init__(self, streams: Streams, owner: Any) -> None:
        self._reader, self._writer = streams
        self._frames = Frames(owner)

    @staticmethod
    async def open(path: str, owner: Any, timeout: float) -> Link:
        """A new link."""
        return Link(await upgrade(path, _http.upgrade("/v1/events/link", "pilot-events"), timeout), owner)

    @property
    def is_open(self) -> bool:
        """Whether it is of use."""
        return not self._writer.is_closing()

    async def send(self, data: bytes, timeout: float) -> None:
        """Sends frames; waits while the daemon is behind."""
        if self._writer.is_closing():
            raise ConnectionResetError("the link ended")
        self._writer.write(data)
        if self._writer.transport.get_write_buffer_size():
            await asyncio.wait_for(self._writer.drain(), timeout)

    async def receive(self) -> List[Batch]:
        """What has come, waiting for it."""
        data = await self._reader.read(READ)
        if not data:
            raise ConnectionResetError("the link ended")
        return self._frames.feed(data)

    def close(self) -> None:
        """Ends it, once what was sent is with the operating system."""
        self._writer.close()

    async def closed(self) -> None:
        """Returns when it has ended."""
        try:
            await self._writer.wait_closed()
        except OSError:
            pass


async def pause(seconds: float, closed: asyncio.Event) -> bool:
    """Waits before another attempt; False when there is to be none."""
    try:
        await asyncio.wait_for(closed.wait(), seconds)
    except asyncio.TimeoutError:
        return True
    return False
