"""Connections to the local socket, blocking: calls, upgrades, frames."""

from __future__ import annotations

import socket
import time
from typing import Any, Iterator, List, Optional, TypeVar

from . import _http
from ._call import Call
from ._wire import Batch, Frames
from .errors import NotRunning, PermissionDenied, PilotError, Timeout, broken

T = TypeVar("T")

READ = 256 << 10
# An answer, or a line of one, is given up beyond this: a full list of the largest messages, in base64, has room.
MAX_BODY = 256 << 20
# Waits between attempts to reach a daemon that is away, seconds: from the first to the last, doubling.
FIRST_PAUSE = 0.05
LAST_PAUSE = 2.0


def unreachable(path: str, problem: OSError) -> PilotError:
    """Why nobody could be asked."""
    if isinstance(problem, PermissionError):
        return PermissionDenied(
            "permission_denied", f"no permission to use {path}", "use sudo, or join the group pilot"
        )
    message = f"no pilotd answers at {path}"
    return NotRunning("daemon_not_running", message, "start it with `sudo pilotd up`, or name its socket")


def too_slow(path: str, patience: Optional[float]) -> Timeout:
    """Nothing came in time."""
    return Timeout("timeout", f"pilotd at {path} did not answer within {patience} s", "ask again, or allow more time")


def connect(path: str, timeout: Optional[float]) -> socket.socket:
    """A connection to the daemon."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(path)
    except OSError as problem:
        connection.close()
        raise unreachable(path, problem) from None
    return connection


def ask(path: str, call: Call[T], timeout: float) -> T:
    """Asks, and reads the answer."""
    patience = timeout + call.patience
    with connect(path, patience) as connection:
        answer = _http.Answer()
        body = bytearray()
        try:
            connection.sendall(call.encode())
            while not answer.done:
                body += answer.feed(connection.recv(READ))
                if len(body) > MAX_BODY:
                    raise ValueError("the answer does not end")
        except socket.timeout:
            raise too_slow(path, patience) from None
        except (OSError, ValueError) as problem:
            raise broken(path, problem) from None
    return call.read(_http.result(answer.status, bytes(body)))


def lines(path: str, connection: socket.socket, request: bytes) -> Iterator[Optional[bytes]]:
    """Asks for JSON lines: first None once they are promised, then each. Ends with the connection.

    The caller closes the connection.
    """
    answer = _http.Answer()
    connection.sendall(request)
    body = bytearray()
    try:
        while not answer.has_head:
            body += answer.feed(connection.recv(READ))
        if answer.status != 200:
            _refuse(connection, answer, body)
        yield None
        connection.settimeout(None)
        while True:
            *whole, rest = bytes(body).split(b"\n")
            yield from (line for line in whole if line.strip())
            body[:] = rest
            if answer.done or len(body) > MAX_BODY:
                return
            body += answer.feed(connection.recv(READ))
    except PilotError:
        raise
    except socket.timeout:
        raise too_slow(path, connection.gettimeout()) from None
    except (OSError, ValueError) as problem:
        raise broken(path, problem) from None


def _refuse(connection: socket.socket, answer: _http.Answer, body: bytearray) -> None:
    while not answer.done and len(body) < MAX_BODY:
        body += answer.feed(connection.recv(READ))
    _http.result(answer.status, bytes(body))
    raise ValueError(f"HTTP {answer.status} instead of lines")


def upgrade(path: str, request: bytes, timeout: float) -> socket.socket:
    """A connection that goes on with another protocol, which has not begun yet: not a byte of it is read."""
    connection = connect(path, timeout)
    try:
        connection.sendall(request)
        answer = _http.Answer()
        answer.feed(_head(connection))
        if answer.status != 101:
            _refuse(connection, answer, bytearray(answer.feed(connection.recv(READ)) if not answer.done else b""))
        connection.settimeout(None)
        return connection
    except PilotError:
        connection.close()
        raise
    except socket.timeout:
        connection.close()
        raise too_slow(path, timeout) from None
    except (OSError, ValueError) as problem:
        connection.close()
        raise broken(path, problem) from None


def _head(connection: socket.socket) -> bytes:
    """Reads up to the empty line and not a byte further."""
    head = b""
    while len(head) < _http.MAX_HEAD:
        seen = connection.recv(4096, socket.MSG_PEEK)
        if not seen:
            raise ValueError("the answer ended before it began")
        end = (head + seen).find(b"\r\n\r\n")
        head += connection.recv(len(seen) if end < 0 else end + 4 - len(head))
        if end >= 0:
            return head
    raise ValueError("the head of the answer does not end")


class Link:
    """A link of frames to the daemon's bus. One thread reads, one writes."""

    def __init__(self, path: str, owner: Any, timeout: float) -> None:
        self.path = path
        self._frames = Frames(owner)
        self.socket = upgrade(path, _http.upgrade("/v1/events/link", "pilot-events"), timeout)

    def send(self, data: bytes) -> None:
        """Sends frames."""
        self.socket.sendall(data)

    def receive(self, timeout: Optional[float]) -> List[Batch]:
        """What has come, waiting for it. Raises `Timeout` when nothing comes in time."""
        self.socket.settimeout(timeout)
        try:
            data = self.socket.recv(READ)
        except (socket.timeout, BlockingIOError):
            raise too_slow(self.path, timeout) from None
        if not data:
            raise ConnectionResetError("the link ended")
        return self._frames.feed(data)

    def close(self) -> None:
        """Ends it; also wakes a thread that reads."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


class Pauses:
    """How long to wait before each new attempt."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    def next(self) -> float:
        """The next wait, seconds."""
        pause = self._next
        self._next = min(pause * 2, LAST_PAUSE)
        return pause


def left(deadline: Optional[float]) -> Optional[float]:
    """Seconds until a moment of `time.monotonic`, not less than a little."""
    return None if deadline is None else max(deadline - time.monotonic(), 0.001)
