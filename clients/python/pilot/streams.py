"""Streams that come in, blocking."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any, Iterator, Optional, Tuple, Type

from . import _http, _link
from .errors import NotFound, Unreachable
from .follow import Follow
from .records import Caller

CONNECT = "/v1/streams/connect"
LISTEN = "/v1/streams/listen"
TAKE = "/v1/streams/take"
PROTOCOL = "pilot-stream"


def incoming(line: Any) -> Tuple[int, Caller]:
    """A stream that waits to be taken, and who is at its other end."""
    return int(line["stream"]), Caller(line.get("node_id", ""), line.get("hostname") or "")


class Listener(Iterator[Tuple[socket.socket, Caller]]):
    """Streams to a port of this node: each a connected socket, and who called. Listens until `close`."""

    def __init__(self, path: str, timeout: float, port: int) -> None:
        self._path = path
        self._timeout = timeout
        self._incoming = Follow(path, timeout, LISTEN, (("port", port),), incoming)

    def __iter__(self) -> Listener:
        return self

    def __next__(self) -> Tuple[socket.socket, Caller]:
        for stream, caller in self._incoming:
            request = _http.upgrade(TAKE, PROTOCOL, (("stream", stream),))
            try:
                return _link.upgrade(self._path, request, self._timeout), caller
            except (NotFound, Unreachable):
                # The caller went away before we took it.
                continue
        raise StopIteration

    def close(self) -> None:
        """Ends listening; streams that were taken go on."""
        self._incoming.close()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


def connect(path: str, timeout: float, node: str, port: int) -> socket.socket:
    """A stream to a port of a node."""
    return _link.upgrade(path, _http.upgrade(CONNECT, PROTOCOL, (("node", node), ("port", port))), timeout)
