"""What the node tells about messages, tasks, files and streams: plain records."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Mapping, NamedTuple, Optional


class Caller(NamedTuple):
    """The node at the other end of a stream."""

    node_id: str
    hostname: str


class Sent(NamedTuple):
    """How sending went: `state` is `delivered` (on the receiver's disk) or `queued` (on ours)."""

    id: str
    state: str


@dataclass(frozen=True)
class Message:
    """A message in the inbox."""

    id: str
    sender: str
    sender_name: str
    type: str
    data: Any
    size: int
    seq: int
    sent: Optional[datetime]
    received: Optional[datetime]
    read: bool

    @staticmethod
    def parse(fields: Mapping[str, Any]) -> Message:
        """A message from its JSON."""
        encoded = fields.get("data_base64")
        return Message(
            id=fields["id"],
            sender=fields.get("from", ""),
            sender_name=fields.get("from_name") or "",
            type=fields.get("type", ""),
            data=fields.get("data") if encoded is None else base64.b64decode(encoded),
            size=fields.get("size", 0),
            seq=fields.get("seq", 0),
            sent=moment(fields.get("sent")),
            received=moment(fields.get("received")),
            read=bool(fields.get("read")),
        )


@dataclass(frozen=True)
class Outgoing:
    """A message that waits in the outbox."""

    id: str
    to: str
    type: str
    size: int
    sent: Optional[datetime]
    expires: Optional[datetime]
    attempts: int
    problem: str

    @staticmethod
    def parse(fields: Mapping[str, Any]) -> Outgoing:
        """A waiting message from its JSON."""
        return Outgoing(
            id=fields["id"],
            to=fields.get("to", ""),
            type=fields.get("type", ""),
            size=fields.get("size", 0),
            sent=moment(fields.get("sent")),
            expires=moment(fields.get("expires")),
            attempts=fields.get("attempts", 0),
            problem=fields.get("problem") or "",
        )


@dataclass(frozen=True)
class Received:
    """A file that a node sent to us."""

    name: str
    sender: str
    size: int
    blake3: str
    path: str
    received: Optional[datetime]

    @staticmethod
    def parse(fields: Mapping[str, Any]) -> Received:
        """A file from its JSON."""
        return Received(
            name=fields["name"],
            sender=fields.get("from", ""),
            size=fields.get("size", 0),
            blake3=fields.get("blake3", ""),
            path=fields.get("path", ""),
            received=moment(fields.get("received")),
        )


@dataclass(frozen=True)
class Task:
    """A task, ours or for us. `sender` submitted it, `worker` does it; `task` and `result` are JSON values."""

    id: str
    sender: str
    worker: str
    state: str
    task: Any
    result: Any
    submitted: Optional[datetime]
    deadline: Optional[datetime]
    changed: Optional[datetime]

    @staticmethod
    def parse(fields: Mapping[str, Any]) -> Task:
        """A task from its JSON."""
        return Task(
            id=fields["id"],
            sender=fields.get("from", ""),
            worker=fields.get("to", ""),
            state=fields.get("state", ""),
            task=fields.get("task"),
            result=fields.get("result"),
            submitted=moment(fields.get("submitted")),
            deadline=moment(fields.get("deadline")),
            changed=moment(fields.get("changed")),
        )


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")


def moment(text: Any) -> Optional[datetime]:
    """A time as RFC 3339 says, to the microsecond; None for anything else."""
    match = _RFC3339.match(text) if isinstance(text, str) else None
    if not match:
        return None
    seconds, fraction, zone = match.groups()
    whole = datetime.fromisoformat(seconds + (zone if zone != "Z" else "+00:00"))
    micros = int(((fraction or ".")[1:] + "000000")[:6])
    return whole.astimezone(timezone.utc) + timedelta(microseconds=micros)
