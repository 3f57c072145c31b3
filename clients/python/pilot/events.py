"""Publishing and subscribing, blocking."""

from __future__ import annotations

import socket
import threading
import time
from datetime import timedelta
from types import TracebackType
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Type, Union

from . import _bus, _link, _wire
from ._call import Duration, seconds
from ._subscribe import Subscribe
from .errors import PilotError, Timeout, broken
from .event import Event, encode
from .subscription import Subscription

# Frames of `publish_many` are cut at about this many bytes: large enough to be quick, small enough to flow.
BATCH = 64 << 10
# Events after which a publisher looks whether one was refused.
_LOOK = 64


class Events:
    """The event stream of a node. May be used by several threads at once.

    Publishing is fire and forget: `publish` returns when the event is with the operating system, in order, and a
    daemon that restarts meanwhile is waited for. `flush` makes certain, and raises what was refused.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._link: Optional[_link.Link] = None
        self._unlooked = 0
        self._flushes = 0
        self._unsure = 0
        self._lost = 0

    def publish(
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
            _link.ask(self._path, _bus.hand_event(node, fields), self._timeout)
            return
        raw, kind = encode(data, content_type)
        self._send(_wire.frame(_wire.encode_event(topic, raw, kind, headers, reply_to)), 1)

    def publish_many(self, events: Iterable[Tuple[str, Any]]) -> int:
        """Publishes pairs of topic and data, many in one write; gives how many."""
        total = count = size = 0
        batch: List[bytes] = []
        for topic, data in events:
            raw, kind = encode(data, None)
            encoded = _wire.encode_event(topic, raw, kind)
            if batch and size + len(encoded) > BATCH:
                self._send(_wire.frame(b"".join(batch)), count)
                batch, count, size = [], 0, 0
            batch.append(encoded)
            count, size, total = count + 1, size + len(encoded), total + 1
        if batch:
            self._send(_wire.frame(b"".join(batch)), count)
        return total

    def flush(self, timeout: Optional[Duration] = None) -> None:
        """Returns when everything before it is published; raises the first refusal, or that the daemon went away before
        it had said so of everything."""
        deadline = time.monotonic() + (self._timeout if timeout is None else seconds(timeout))
        with self._lock:
            self._flushes += 1
            link = self._write(_wire.frame(_wire.encode_flush(self._flushes)))
            refused: Optional[PilotError] = None
            try:
                flushed = 0
                while flushed < self._flushes:
                    for batch in link.receive(_link.left(deadline)):
                        flushed = max(flushed, batch.flushed)
                        refused = refused or batch.refused
            except Timeout:
                raise
            except (OSError, ValueError) as problem:
                self._drop()
                raise broken(self._path, problem) from None
            lost, self._unsure, self._lost = self._lost, 0, 0
        if refused or lost:
            raise refused or _bus.perhaps_lost(lost)

    def subscribe(
        self,
        *patterns: str,
        since: Union[int, str, timedelta, None] = None,
        last: bool = False,
        group: str = "",
        node: str = "",
        overflow: str = "drop-oldest",
        queue: int = 0,
    ) -> Subscription:
        """The events that match, as an iterator, from the moment that this returns (or from `since`: a sequence
        number, a duration such as `"30s"`). Without `node`: of this node and of every trusted one."""
        wanted = Subscribe(list(patterns), node, since, last, group, overflow, queue)
        wanted.check()
        return Subscription(self, self._path, self._timeout, wanted)

    def last(self, pattern: str) -> List[Event]:
        """The last event of each topic that matches."""
        return _link.ask(self._path, _bus.last_events(pattern), self._timeout)

    def request(
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
        return _link.ask(self._path, _bus.request_event(node, timeout, fields), self._timeout)

    def reply(
        self, event: Event, data: Any, content_type: Optional[str] = None, headers: Optional[Dict[str, str]] = None
    ) -> None:
        """Answers an event on its `reply_to`."""
        if not event.reply_to:
            raise _bus.no_reply_wanted(event)
        self.publish(event.reply_to, data, content_type=content_type, headers=headers)

    def close(self) -> None:
        """Ends publishing; subscriptions end by themselves."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _send(self, data: bytes, count: int) -> None:
        refused: Optional[PilotError] = None
        with self._lock:
            link = self._write(data)
            self._unlooked += count
            self._unsure += count
            if self._unlooked >= _LOOK:
                self._unlooked = 0
                refused = self._look(link)
        if refused:
            raise refused

    def _write(self, data: bytes) -> _link.Link:
        """Writes, on a new link where the old one is gone, as long as `timeout` allows."""
        deadline, pauses = time.monotonic() + self._timeout, _link.Pauses()
        while True:
            try:
                if self._link is None:
                    self._link = _link.Link(self._path, self, self._timeout)
                self._link.socket.settimeout(self._timeout)
                self._link.send(data)
                return self._link
            except OSError as problem:
                # A frame may be cut in the middle: whatever went wrong, this link is of no more use.
                self._drop()
                if isinstance(problem, (TimeoutError, socket.timeout)) or time.monotonic() > deadline:
                    raise problem if isinstance(problem, PilotError) else broken(self._path, problem) from None
            time.sleep(pauses.next())

    def _look(self, link: _link.Link) -> Optional[PilotError]:
        """Reads refusals that have come, without waiting: unread, they would stop the daemon in the end."""
        refused: Optional[PilotError] = None
        try:
            while True:
                for batch in link.receive(0):
                    refused = refused or batch.refused
        except (OSError, ValueError):
            return refused

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
            self._lost += self._unsure
            self._unsure = 0
