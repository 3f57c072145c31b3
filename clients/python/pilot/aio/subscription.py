"""Events as they come, for asyncio."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, AsyncIterator, Iterator, List, Optional, Type

from .. import _wire
from .._call import Duration, seconds
from .._link import Pauses, too_slow
from .._subscribe import Subscribe
from ..errors import PilotError, Timeout, broken
from ..event import Event
from . import _link


class Subscription(AsyncIterator[Event]):
    """Events as they come. For one task; `close` may be called by another. See `pilot.Subscription`."""

    def __init__(self, owner: Any, path: str, timeout: float, wanted: Subscribe) -> None:
        self.missed = 0
        """Events lost because this program was too slow."""
        self._owner = owner
        self._path = path
        self._timeout = timeout
        self._wanted = wanted
        self._closed = asyncio.Event()
        self._ready: Iterator[Event] = iter(())
        self._link: Optional[_link.Link] = None

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        for event in self._ready:
            return event
        while not self._closed.is_set():
            await self._receive()
            for event in self._ready:
                return event
        raise StopAsyncIteration

    async def get(self, timeout: Optional[Duration] = None) -> Event:
        """The next event. Raises `Timeout` when none comes in time, and code `closed` after `close`."""
        try:
            return await asyncio.wait_for(self.__anext__(), None if timeout is None else seconds(timeout))
        except asyncio.TimeoutError:
            raise Timeout("timeout", f"no event within {timeout}") from None
        except StopAsyncIteration:
            raise PilotError("closed", "the subscription has ended", "subscribe again") from None

    async def close(self) -> None:
        """Ends the subscription: the iteration stops."""
        self._closed.set()
        if self._link is not None:
            self._link.close()
            await self._link.closed()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Subscribes: holds when this returns."""
        link = await _link.Link.open(self._path, self._owner, self._timeout)
        try:
            batches = await asyncio.wait_for(self._ask(link), self._timeout)
        except BaseException as problem:
            link.close()
            if isinstance(problem, asyncio.TimeoutError):
                raise too_slow(self._path, self._timeout) from None
            if isinstance(problem, (OSError, ValueError)) and not isinstance(problem, PilotError):
                raise broken(self._path, problem) from None
            raise
        self._link = link
        self._take(batches)

    async def _ask(self, link: _link.Link) -> List[_wire.Batch]:
        subscribe = _wire.encode_subscribe(*self._wanted.arguments())
        await link.send(_wire.frame(subscribe) + _wire.frame(_wire.encode_flush(1)), self._timeout)
        batches: List[_wire.Batch] = []
        while not any(batch.flushed or batch.refused for batch in batches):
            batches += await link.receive()
        return batches

    def _take(self, batches: List[_wire.Batch]) -> None:
        events: List[Event] = []
        for batch in batches:
            self.missed += batch.missed
            events = events + batch.events if events else batch.events
            if batch.refused:
                if self._link is not None:
                    self._link.close()
                self._closed.set()
                raise batch.refused
        if events:
            self._wanted.saw(events[-1].seq)
            self._ready = iter(events)

    async def _receive(self) -> None:
        if self._link is None:
            return await self._return()
        try:
            batches = await self._link.receive()
        except (OSError, ValueError):
            return await self._return()
        self._take(batches)

    async def _return(self) -> None:
        """Waits for a daemon that went away."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._wanted.overflow == "disconnect":
            self._closed.set()
            return
        self._wanted.resume()
        pauses = Pauses()
        while await _link.pause(pauses.next(), self._closed):
            try:
                return await self.open()
            except (ConnectionError, TimeoutError):
                continue
