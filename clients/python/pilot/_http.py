"""HTTP/1.1 without IO: requests as bytes, answers from bytes as they come.

One request a connection: the sync and the asyncio driver send what `request` gives, and feed what they receive to an
`Answer`. Bounded: a head of 64 KiB, a chunk header of 1 KiB; how much body to keep is the caller's decision.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple
from urllib.parse import quote

from .errors import NotRunning, error

MAX_HEAD = 64 << 10
_MAX_CHUNK_HEAD = 1 << 10

Query = Iterable[Tuple[str, Any]]


def request(
    method: str,
    path: str,
    query: Query = (),
    body: Optional[bytes] = None,
    headers: Optional[Mapping[str, str]] = None,
) -> bytes:
    """The bytes of a request. Query fields that are None are left out."""
    fields = "&".join(f"{name}={_value(value)}" for name, value in query if value is not None)
    lines = [f"{method} {path}{'?' + fields if fields else ''} HTTP/1.1", "host: pilotd"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    if not headers or "upgrade" not in headers:
        lines.append("connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")


def upgrade(path: str, protocol: str, query: Query = ()) -> bytes:
    """A request to go on with another protocol on the same connection."""
    return request("GET", path, query, headers={"upgrade": protocol, "connection": "upgrade"})


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return quote(str(value), safe="")


class Answer:
    """An answer, read as its bytes come."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Dict[str, str] = {}
        self.done = False
        self._buffer = bytearray()
        self._left: Optional[int] = None
        self._chunked = False

    @property
    def has_head(self) -> bool:
        """Whether status and headers are known."""
        return self.status != 0

    def feed(self, data: bytes) -> bytes:
        """Takes received bytes, `b""` at their end; gives the bytes of the body that they brought."""
        self._buffer += data
        if not self.has_head and not self._read_head():
            if not data:
                raise ValueError("the answer ended before it began")
            return b""
        body = self._read_chunks() if self._chunked else self._read_plain()
        if not data and not self.done:
            if self._left is not None or self._chunked:
                raise ValueError("the answer ended too early")
            self.done = True
        return body

    def rest(self) -> bytes:
        """What came after the head of a `101`: the first bytes of the other protocol."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise ValueError("the head of the answer does not end")
            return False
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        parts = first.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise ValueError("this is no HTTP")
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self._frame(int(parts[1]))
        return True

    def _frame(self, status: int) -> None:
        self.status = status
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length", "")
        if length.isdigit():
            self._left = int(length)
        if status == 101:
            self.done = True

    def _read_plain(self) -> bytes:
        if self.status == 101:
            return b""
        body = bytes(self._buffer if self._left is None else self._buffer[: self._left])
        self._buffer.clear()
        if self._left is not None:
            self._left -= len(body)
            self.done = self._left == 0
        return body

    def _read_chunks(self) -> bytes:
        pieces: List[bytes] = []
        while not self.done and self._next_chunk(pieces):
            pass
        return b"".join(pieces)

    def _next_chunk(self, pieces: List[bytes]) -> bool:
        """Takes a chunk, or a part of one; False when more bytes are needed first."""
        buffer = self._buffer
        if self._left is None:
            end = buffer.find(b"\r\n")
            if end < 0:
                if len(buffer) > _MAX_CHUNK_HEAD:
                    raise ValueError("a chunk has no size")
                return False
            self._left = int(bytes(buffer[:end]).split(b";")[0], 16)
            del buffer[: end + 2]
            self.done = self._left == 0
            return True
        if self._left:
            piece = bytes(buffer[: self._left])
            del buffer[: len(piece)]
            self._left -= len(piece)
            pieces.append(piece)
            return self._left == 0
        if len(buffer) < 2:
            return False
        del buffer[:2]
        self._left = None
        return True


def result(status: int, body: bytes) -> Any:
    """`.data` of an envelope; raises the error that it carries."""
    try:
        envelope = json.loads(body)
        if envelope["status"] == "ok":
            return envelope["data"]
        refusal = error(str(envelope["code"]), str(envelope["message"]), str(envelope.get("hint", "")))
    except (ValueError, KeyError, TypeError):
        message = f"the answer (HTTP {status}) is not understood: {body[:200]!r}"
        raise NotRunning("internal", message, "is it a pilotd of this version?") from None
    raise refusal
