"""Events as they come, blocking."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Iterator, List, Optional, Type

from . import _link, _wire
from ._call import Duration, seconds
from ._subscribe import Subscribe
from .errors import PilotError, Timeout, broken
from .event import Event


class Subscription(Iterator[Event]):
    """Events as they come. For one thread; `close` may be called by another.

    When the daemon restarts, the subscription waits and goes on: with `since` a sequence number, or with `node` and
    any `since`, after the last event that it gave, otherwise with what happens from then on.
    """

    def __init__(self, owner: Any, path: str, timeout: float, wanted: Subscribe) -> None:
        self.missed = 0
        """Events lost because this program was too slow."""
        self._owner = owner
        self._path = path
        self._timeout = timeout
        self._wanted = wanted
        self._closed = threading.Event()
        self._ready: Iterator[Event] = iter(())
        self._link = self._open()

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Event:
        for event in self._ready:
            return event
        while not self._closed.is_set():
            self._receive(None)
            for event in self._ready:
                return event
        raise StopIteration

    def get(self, timeout: Optional[Duration] = None) -> Event:
        """The next event. Raises `Timeout` when none comes in time, and code `closed` after `close`."""
        for event in self._ready:
            return event
        deadline = None if timeout is None else time.monotonic() + seconds(timeout)
        while not self._closed.is_set():
            self._receive(deadline)
            for event in self._ready:
                return event
            if deadline is not None and time.monotonic() >= deadline:
                raise Timeout("timeout", f"no event within {timeout}")
        raise PilotError("closed", "the subscription has ended", "subscribe again")

    def close(self) -> None:
        """Ends the subscription: the iteration stops."""
        self._closed.set()
        self._link.close()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _receive(self, deadline: Optional[float]) -> None:
        try:
            self._take(self._link.receive(_link.left(deadline)))
        except Timeout:
            raise Timeout("timeout", "no event came in time") from None
        except (OSError, ValueError) as problem:
            if isinstance(problem, PilotError):
                self.close()
                raise
            self._return(deadline)

    def _take(self, batches: List[_wire.Batch]) -> None:
        events: List[Event] = []
        for batch in batches:
            self.missed += batch.missed
            events = events + batch.events if events else batch.events
            if batch.refused:
                raise batch.refused
        if events:
            self._wanted.saw(events[-1].seq)
            self._ready = iter(events)

    def _open(self) -> _link.Link:
        """A link with the subscription on it: made when this returns."""
        link = _link.Link(self._path, self._owner, self._timeout)
        deadline = time.monotonic() + self._timeout
        try:
            subscribe = _wire.encode_subscribe(*self._wanted.arguments())
            link.send(_wire.frame(subscribe) + _wire.frame(_wire.encode_flush(1)))
            batches: List[_wire.Batch] = []
            while not any(batch.flushed or batch.refused for batch in batches):
                batches += link.receive(_link.left(deadline))
            self._take(batches)
            return link
        except (OSError, ValueError) as problem:
            link.close()
            raise problem if isinstance(problem, PilotError) else broken(self._path, problem) from None

    def _return(self, deadline: Optional[float]) -> None:
        """Waits for a daemon that went away."""
        self._link.close()
        if self._wanted.overflow == "disconnect":
            self._closed.set()
            return
        self._wanted.resume()
        pauses = _link.Pauses()
        while not self._closed.wait(pauses.next()):
            try:
                self._link = self._open()
                if self._closed.is_set():
                    self._link.close()
                return
            except (ConnectionError, TimeoutError):
                if deadline is not None and time.monotonic() >= deadline:
                    return
