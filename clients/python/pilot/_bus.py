"""What is asked about events with one answer; what flows goes over links."""

from __future__ import annotations

import base64
import json
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ._call import Call, Duration, checked, encode_json, millis, seconds
from .errors import InvalidRequest, NotRunning
from .event import JSON, Event, encode
from .records import moment


def event_fields(
    topic: str, data: Any, content_type: Optional[str], headers: Optional[Mapping[str, str]], reply_to: str
) -> Tuple[Dict[str, Any], Optional[Tuple[str, str]]]:
    """An event as fields of JSON, and its data as JSON text where that is what it is."""
    raw, kind = encode(data, content_type)
    fields: Dict[str, Any] = {"topic": topic, "content_type": kind or None, "reply_to": reply_to or None}
    fields["headers"] = dict(headers) if headers else None
    if not kind or kind.startswith(JSON):
        return fields, ("data", checked(raw.decode()))
    if kind.startswith("text/"):
        return {**fields, "data": raw.decode()}, None
    return {**fields, "data_base64": base64.b64encode(raw).decode()}, None


def hand_event(node: str, fields: Tuple[Dict[str, Any], Optional[Tuple[str, str]]]) -> Call[int]:
    """Hands an event to one node."""
    return Call("POST", "/v1/events", lambda data: int(data.get("seq", 0)), (("node", node),), encode_json(*fields))


def request_event(
    node: Optional[str], timeout: Duration, fields: Tuple[Dict[str, Any], Optional[Tuple[str, str]]]
) -> Call[Event]:
    """Publishes, and waits for the first reply."""
    body = encode_json({**fields[0], "timeout_ms": millis(timeout)}, fields[1])
    return Call("POST", "/v1/events/request", event, (("node", node),), body, seconds(timeout))


def last_events(pattern: str) -> Call[List[Event]]:
    """The last event of each topic."""
    return Call(
        "GET", "/v1/events/last", lambda data: [event(each) for each in data["events"]], (("pattern", pattern),)
    )


def event(fields: Mapping[str, Any]) -> Event:
    """An event from its JSON."""
    kind = fields.get("content_type") or JSON
    if "data_base64" in fields:
        raw = base64.b64decode(fields["data_base64"])
    elif kind.startswith(JSON):
        raw = json.dumps(fields.get("data"), separators=(",", ":"), ensure_ascii=False).encode()
    else:
        raw = str(fields.get("data", "")).encode()
    when = moment(fields.get("time"))
    micros = 0 if when is None else int(when.timestamp()) * 1_000_000 + when.microsecond
    headers, reply_to = dict(fields.get("headers") or {}), fields.get("reply_to") or ""
    return Event(fields["topic"], raw, kind, headers, reply_to, fields.get("seq", 0), fields.get("source", ""), micros)


def no_reply_wanted(question: Event) -> InvalidRequest:
    """Nobody waits for a reply to it."""
    return InvalidRequest("invalid_request", f"the event of {question.topic} asks for no reply", "see `event.reply_to`")


def perhaps_lost(count: int) -> NotRunning:
    """The daemon went away, and nobody knows whether it had published the last events."""
    message = f"pilotd went away before it had confirmed {count} events: they may be lost"
    return NotRunning("daemon_not_running", message, "publish them again if that matters")
