"""The protobuf messages of proto/pilot/v1/events.proto that a driver speaks, as frames.

A frame is a 4-byte big-endian length and a `LinkRequest` (to the daemon) or an `EventBatch` (from it). Events are
field 1 of both, so that encoded events one after the other are a valid message: each is encoded once, and joined.
Decoding one event is the hot path and written flat; everything rare goes through `_fields`.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from .errors import InvalidRequest, PilotError, TooLarge, error
from .event import Event

MAX_FRAME = 1 << 20
# The largest event that a node takes, encoded, bytes.
MAX_EVENT = 960 << 10

_length = struct.Struct(">I").pack
_fixed64 = struct.Struct("<Q").unpack_from
_TOPIC = re.compile(r"[^\s.*>\x00-\x1f\x7f]+(\.[^\s.*>\x00-\x1f\x7f]+)*\Z")


def frame(message: bytes) -> bytes:
    """A message with its length before it."""
    if len(message) > MAX_FRAME:
        raise TooLarge(
            "too_large", f"{len(message)} bytes are more than a frame holds ({MAX_FRAME})", "send less at once"
        )
    return _length(len(message)) + message


def varint(number: int) -> bytes:
    """A number, seven bits a byte."""
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + varint(len(value)) + value


def _text(tag: int, value: str) -> bytes:
    return _bytes(tag, value.encode()) if value else b""


def _number(tag: int, value: int) -> bytes:
    return bytes((tag,)) + varint(value)


@lru_cache(maxsize=1024)
def _topic(topic: str) -> bytes:
    encoded = topic.encode()
    if len(encoded) > 255 or not _TOPIC.match(topic):
        raise InvalidRequest(
            "invalid_topic",
            f"{topic!r} is no topic",
            "a topic is dot-separated words without spaces, `*` and `>`, at most 255 bytes",
        )
    return _bytes(0x0A, encoded)


def encode_event(
    topic: str, raw: bytes, content_type: str = "", headers: Optional[Mapping[str, str]] = None, reply_to: str = ""
) -> bytes:
    """An event as an element of a `LinkRequest`."""
    body = _topic(topic) + b"\x12" + varint(len(raw)) + raw
    if content_type:
        body += _text(0x1A, content_type)
    if headers:
        body += b"".join(_bytes(0x22, _text(0x0A, name) + _text(0x12, value)) for name, value in headers.items())
    if reply_to:
        body += _text(0x2A, reply_to)
    if len(body) > MAX_EVENT:
        raise TooLarge("too_large", f"an event of {len(body)} bytes, more than {MAX_EVENT}", "send a message or a file")
    return b"\x0a" + varint(len(body)) + body


def encode_flush(number: int) -> bytes:
    """`LinkRequest.flush`."""
    return _number(0x18, number)


def encode_subscribe(
    patterns: List[str],
    node: str,
    since_seq: Optional[int],
    since_millis: Optional[int],
    last: bool,
    group: str,
    overflow: int,
    queue: int,
) -> bytes:
    """`LinkRequest.subscribe`."""
    body = b"".join(_bytes(0x0A, pattern.encode()) for pattern in patterns) + _text(0x12, node)
    if since_seq is not None:
        body += _number(0x18, since_seq)
    if since_millis is not None:
        body += _number(0x20, since_millis)
    if last:
        body += _number(0x28, 1)
    body += _text(0x32, group)
    if overflow:
        body += _number(0x38, overflow)
    if queue:
        body += _number(0x40, queue)
    return _bytes(0x22, body)


class Batch:
    """An `EventBatch`: first what was missed, then the events, then what was refused or flushed."""

    __slots__ = ("events", "missed", "flushed", "refused")

    def __init__(self) -> None:
        self.events: List[Event] = []
        self.missed = 0
        self.flushed = 0
        self.refused: Optional[PilotError] = None


class Frames:
    """Received bytes in, batches out. Holds one frame at most, beside what was received at once."""

    def __init__(self, owner: Any) -> None:
        self._buffer = bytearray()
        self._owner = owner

    def feed(self, data: bytes) -> List[Batch]:
        """Takes received bytes; gives the batches that they completed. Raises ValueError for bytes that are none."""
        buffer = self._buffer
        buffer += data
        batches: List[Batch] = []
        position = 0
        while len(buffer) - position >= 4:
            size = int.from_bytes(buffer[position : position + 4], "big")
            if size > MAX_FRAME:
                raise ValueError(f"a frame of {size} bytes")
            stop = position + 4 + size
            if len(buffer) < stop:
                break
            batches.append(_batch(bytes(buffer[position + 4 : stop]), self._owner))
            position = stop
        del buffer[:position]
        return batches


def _batch(data: bytes, owner: Any) -> Batch:
    batch = Batch()
    try:
        rest = _events(data, owner, batch.events)
        for number, value in _fields(data, rest, len(data)):
            _set(batch, number, value, owner)
    except IndexError:
        raise ValueError("a message ends in the middle") from None
    return batch


def _set(batch: Batch, number: int, value: Union[int, bytes], owner: Any) -> None:
    if isinstance(value, bytes):
        if number == 1:
            batch.events.append(_event(value, 0, len(value), owner))
        elif number == 2:
            batch.missed += sum(
                count for field, count in _fields(value, 0, len(value)) if field == 1 and isinstance(count, int)
            )
        elif number == 6:
            batch.refused = _refusal(value)
    elif number == 5:
        batch.flushed = value


def _events(data: bytes, owner: Any, out: List[Event]) -> int:
    """The events that a batch begins with; gives where they end."""
    position, end = 0, len(data)
    while position < end and data[position] == 0x0A:
        size = data[position + 1]
        position += 2
        if size > 127:
            size, position = _more(data, position, size)
        stop = position + size
        if stop > end:
            raise IndexError
        out.append(_event(data, position, stop, owner))
        position = stop
    return position


# The tags of the fields of an event that are bytes or text.
_KNOWN = frozenset((0x0A, 0x12, 0x1A, 0x22, 0x2A, 0x52))


def _event(data: bytes, position: int, stop: int, owner: Any) -> Event:
    topic = source = content_type = reply_to = ""
    raw = b""
    seq = micros = 0
    headers: Dict[str, str] = {}
    start = position
    while position < stop:
        tag = data[position]
        if tag == 0x59:
            if position + 9 > stop:
                raise IndexError
            micros = _fixed64(data, position + 1)[0]
            position += 9
            continue
        size = data[position + 1]
        position += 2
        if size > 127:
            size, position = _more(data, position, size)
        if tag == 0x48:
            seq = size
            continue
        if tag not in _KNOWN:
            return _unusual_event(data, start, stop, owner)
        value = data[position : position + size]
        position += size
        if tag == 0x12:
            raw = value
        elif tag == 0x0A:
            topic = value.decode()
        elif tag == 0x52:
            source = value.decode()
        elif tag == 0x1A:
            content_type = value.decode()
        elif tag == 0x22:
            name, text = _header(value)
            headers[name] = text
        elif tag == 0x2A:
            reply_to = value.decode()
    if position != stop:
        raise IndexError
    return Event(topic, raw, content_type, headers, reply_to, seq, source, micros, owner)


def _unusual_event(data: bytes, position: int, stop: int, owner: Any) -> Event:
    """An event with fields that this version does not know, which are skipped."""
    texts: Dict[int, bytes] = {}
    numbers: Dict[int, int] = {}
    headers: Dict[str, str] = {}
    for number, value in _fields(data, position, stop):
        if isinstance(value, int):
            numbers[number] = value
        elif number == 4:
            name, text = _header(value)
            headers[name] = text
        else:
            texts[number] = value
    topic, content_type, reply_to, source = (texts.get(number, b"").decode() for number in (1, 3, 5, 10))
    raw, seq, micros = texts.get(2, b""), numbers.get(9, 0), numbers.get(11, 0)
    return Event(topic, raw, content_type, headers, reply_to, seq, source, micros, owner)


def _header(data: bytes) -> Tuple[str, str]:
    name, value = _strings(data, 1, 2)
    return name, value


def _refusal(data: bytes) -> PilotError:
    code, message, hint = _strings(data, 1, 2, 3)
    return error(code, message, hint)


def _strings(data: bytes, *wanted: int) -> List[str]:
    found = {number: value for number, value in _fields(data, 0, len(data)) if isinstance(value, bytes)}
    return [found.get(number, b"").decode() for number in wanted]


def _fields(data: bytes, position: int, stop: int) -> Iterator[Tuple[int, Union[int, bytes]]]:
    """Every field between two positions: its number, and its value as a number or as bytes."""
    while position < stop:
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == 0:
            number, position = _varint(data, position)
            yield tag >> 3, number
            continue
        if kind == 2:
            size, position = _varint(data, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if position + size > stop:
            raise IndexError
        value = data[position : position + size]
        position += size
        yield tag >> 3, value if kind == 2 else int.from_bytes(value, "little")
    if position != stop:
        raise IndexError


def _varint(data: bytes, position: int) -> Tuple[int, int]:
    first = data[position]
    return (first, position + 1) if first < 128 else _more(data, position + 1, first)


def _more(data: bytes, position: int, first: int) -> Tuple[int, int]:
    """The rest of a number whose first byte is `first`; gives it, and where it ends."""
    number, shift = first & 127, 7
    while shift < 70:
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
        shift += 7
    raise ValueError("a number of more than 64 bits")
