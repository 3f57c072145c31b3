"""Publishing and subscribing, for asyncio."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import TracebackType
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Type, Union

from .. import _bus, _wire
from .._call import Duration, seconds
from .._link import Pauses, too_slow
from .._subscribe import Subscribe
from ..errors import NotRunning, PilotError, broken
from ..event import Event, encode
from ..events import BATCH
from . import _link
from .subscription import Subscription


class Events:
    """The event stream of a node, for the tasks of one event loop. See `pilot.Events`."""

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = asyncio.Lock()
        self._link: Optional[_link.Link] = None
        self._reading: Optional[asyncio.Task[None]] = None
        self._flushes = 0
        self._waiting: Dict[int, asyncio.Future[None]] = {}
        self._refused: Optional[PilotError] = None
        self._unsure = 0
        self._lost = 0

    async def publish(
        self,
        topic: str,
        data: Any,
        *,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        reply_to: str = "",
        node: Optional[str] = None,
    ) -> None:
        """Publishes to every subscriber, here and on the nodes that trust us; with `node`, hands it to that one alone.

        Bytes are binary, anything else is JSON; with a `content_type`, text and bytes are taken as they are.
        """
        if node is not None:
            fields = _bus.event_fields(topic, data, content_type, headers, reply_to)
            await _link.ask(self._path, _bus.hand_event(node, fields), self._timeout)
            return
        raw, kind = encode(data, content_type)
        await self._send(_wire.frame(_wire.encode_event(topic, raw, kind, headers, reply_to)), 1)

    async def publish_many(self, events: Iterable[Tuple[str, Any]]) -> int:
        """Publishes pairs of topic and data, many in one write; gives how many."""
        total = size = 0
        batch: List[bytes] = []
        for topic, data in events:
            raw, kind = encode(data, None)
            encoded = _wire.encode_event(topic, raw, kind)
            if batch and size + len(encoded) > BATCH:
                await self._send(_wire.frame(b"".join(batch)), len(batch))
                batch, size = [], 0
            batch.append(encoded)
            size, total = size + len(encoded), total + 1
        if batch:
            await self._send(_wire.frame(b"".join(batch)), len(batch))
        return total

    async def flush(self, timeout: Optional[Duration] = None) -> None:
        """Returns when everything before it is published; raises the first refusal, or that the daemon went away before
        it had said so of everything."""
        patience = self._timeout if timeout is None else seconds(timeout)
        self._flushes += 1
        number, flushed = self._flushes, asyncio.get_running_loop().create_future()
        self._waiting[number] = flushed
        try:
            await self._send(_wire.frame(_wire.encode_flush(number)), 0)
            await asyncio.wait_for(flushed, patience)
        except NotRunning:
            self._lost = 0
            raise
        except asyncio.TimeoutError:
            raise too_slow(self._path, patience) from None
        finally:
            self._waiting.pop(number, None)
        lost, self._unsure, self._lost = self._lost, 0, 0
        self._raise_refusal()
        if lost:
            raise _bus.perhaps_lost(lost)

    async def subscribe(
        self,
        *patterns: str,
        since: Union[int, str, timedelta, None] = None,
        last: bool = False,
        group: str = "",
        node: str = "",
        overflow: str = "drop-oldest",
        queue: int = 0,
    ) -> Subscription:
        """The events that match, for `async for`, from the moment that this returns (or from `since`). See
        `pilot.Events.subscribe`."""
        wanted = Subscribe(list(patterns), node, since, last, group, overflow, queue)
        wanted.check()
        subscription = Subscription(self, self._path, self._timeout, wanted)
        await subscription.open()
        return subscription

    async def last(self, pattern: str) -> List[Event]:
        """The last event of each topic that matches."""
        return await _link.ask(self._path, _bus.last_events(pattern), self._timeout)

    async def request(
        self,
        topic: str,
        data: Any,
        *,
        timeout: Duration = 5.0,
        node: Optional[str] = None,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> Event:
        """Publishes a question, and gives the first reply. Raises `Timeout` when there is none."""
        fields = _bus.event_fields(topic, data, content_type, headers, "")
        return await _link.ask(self._path, _bus.request_event(node, timeout, fields), self._timeout)

    async def reply(
        self, event: Event, data: Any, content_type: Optional[str] = None, headers: Optional[Dict[str, str]] = None
    ) -> None:
        """Answers an event on its `reply_to`."""
        if not event.reply_to:
            raise _bus.no_reply_wanted(event)
        await self.publish(event.reply_to, data, content_type=content_type, headers=headers)

    async def close(self) -> None:
        """Ends publishing, once everything is with the operating system."""
        link, reading = self._link, self._reading
        self._link = self._reading = None
        if link is not None:
            link.close()
            await link.closed()
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])

    async def __aenter__(self) -> Events:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    async def _send(self, data: bytes, count: int) -> None:
        self._raise_refusal()
        loop, pauses = asyncio.get_running_loop(), Pauses()
        deadline = loop.time() + self._timeout
        while True:
            try:
                link = await self._opened()
                await link.send(data, self._timeout)
                self._unsure += count
                return
            except asyncio.TimeoutError:
                raise too_slow(self._path, self._timeout) from None
            except OSError as problem:
                if loop.time() > deadline:
                    raise problem if isinstance(problem, PilotError) else broken(self._path, problem) from None
            await asyncio.sleep(pauses.next())

    async def _opened(self) -> _link.Link:
        async with self._lock:
            if self._link is None or not self._link.is_open:
                self._link = await _link.Link.open(self._path, self, self._timeout)
                self._reading = asyncio.ensure_future(self._read(self._link))
            return self._link

    async def _read(self, link: _link.Link) -> None:
        """Reads what the daemon says to a publisher, until it is gone."""
        try:
            while True:
                for batch in await link.receive():
                    self._refused = self._refused or batch.refused
                    if batch.flushed:
                        self._settle(batch.flushed, None)
        except (OSError, ValueError) as problem:
            link.close()
            self._lost += self._unsure
            self._unsure = 0
            self._settle(self._flushes, broken(self._path, problem))

    def _settle(self, number: int, problem: Optional[PilotError]) -> None:
        for waiting, flushed in self._waiting.items():
            if waiting <= number and not flushed.done():
                if problem is None:
                    flushed.set_result(None)
                else:
                    flushed.set_exception(problem)

    def _raise_refusal(self) -> None:
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused
