"""An event, as a subscriber sees it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Optional, Tuple

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_UNREAD: Any = object()

JSON = "application/json"
TEXT = "text/plain"
BINARY = "application/octet-stream"

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def encode(data: Any, content_type: Optional[str]) -> Tuple[bytes, str]:
    """The bytes and the content type of what a program publishes.

    Bytes are binary and everything else is JSON; with a content type bytes and text are taken as they are.
    """
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), content_type or BINARY
    if content_type and isinstance(data, str):
        return data.encode(), content_type
    return _encode(data).encode(), content_type or ""


def decode(raw: bytes, content_type: str) -> Any:
    """The value of the bytes of a content type: parsed JSON, text or bytes. What is not what it says stays bytes."""
    try:
        if not content_type or content_type.startswith(JSON):
            return json.loads(raw)
        if content_type.startswith("text/"):
            return raw.decode()
    except ValueError:
        pass
    return raw


class Event:
    """What happened on a node. `raw` is the publisher's data to the byte, `data` its value, parsed when asked for."""

    __slots__ = ("topic", "raw", "content_type", "headers", "reply_to", "seq", "source", "_micros", "_owner", "_data")

    def __init__(
        self,
        topic: str,
        raw: bytes,
        content_type: str,
        headers: Dict[str, str],
        reply_to: str,
        seq: int,
        source: str,
        micros: int,
        owner: Any = None,
    ) -> None:
        self.topic = topic
        self.raw = raw
        self.content_type = content_type or JSON
        self.headers = headers
        self.reply_to = reply_to
        self.seq = seq
        self.source = source
        self._micros = micros
        self._owner = owner
        self._data = _UNREAD

    @property
    def data(self) -> Any:
        """Parsed JSON for `application/json`, `str` for `text/…`, else `bytes`."""
        if self._data is _UNREAD:
            self._data = decode(self.raw, self.content_type)
        return self._data

    @property
    def time(self) -> datetime:
        """When it was published, by the publisher's clock, UTC."""
        return _EPOCH + timedelta(microseconds=self._micros)

    def reply(self, data: Any, *, content_type: Optional[str] = None, headers: Optional[Dict[str, str]] = None) -> Any:
        """Answers it on `reply_to`; to be awaited where the event came from `pilot.aio`."""
        return self._owner.reply(self, data, content_type, headers)

    def __repr__(self) -> str:
        return f"Event(topic={self.topic!r}, seq={self.seq}, source={self.source!r}, data={self.data!r})"
