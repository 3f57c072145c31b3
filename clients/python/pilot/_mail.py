"""What is asked about messages and files."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Union

from ._call import Call, Duration, Query, as_is, checked, encode_json, millis, seconds
from .records import Message, Outgoing, Received, Sent

Named = Union[str, Message]


def send_message(
    node: str, data: Any, type: Optional[str], id: Optional[str], expires: Optional[Duration], wait: Duration
) -> Call[Sent]:
    """Puts a message into the outbox. The ID is made here, so that asking again is harmless."""
    fields = {
        "node": node,
        "type": type or _type_of(data),
        "id": id or uuid.uuid4().hex,
        "expires_secs": None if expires is None else round(seconds(expires)),
        "wait_ms": millis(wait),
    }
    extra, raw = _message_data(data, str(fields["type"]))
    body = encode_json({**fields, **extra}, raw)
    return Call("POST", "/v1/messages/send", lambda sent: Sent(sent["id"], sent["state"]), (), body, seconds(wait))


def _type_of(data: Any) -> str:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return "binary"
    return "text" if isinstance(data, str) else "json"


def _message_data(data: Any, type: str) -> Tuple[Dict[str, Any], Optional[Tuple[str, str]]]:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return {"data_base64": base64.b64encode(bytes(data)).decode()}, None
    if isinstance(data, str) and type == "text":
        return {"data": data}, None
    text = checked(data) if isinstance(data, str) else json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return {}, ("data", text)


def inbox_query(
    sender: Optional[str],
    type: Optional[str],
    after: Optional[int],
    unread: bool,
    limit: Optional[int],
    id: Optional[str],
) -> Query:
    """Which messages."""
    query = {"from": sender, "type": type, "after": after, "unread": unread or None, "limit": limit, "id": id}
    return tuple(query.items())


def inbox(query: Query) -> Call[List[Message]]:
    """The messages that match."""
    return Call("GET", "/v1/inbox", lambda data: [Message.parse(each) for each in data["messages"]], query)


def _ids(named: Iterable[Union[Named, Iterable[Named]]]) -> List[str]:
    ids: List[str] = []
    for each in named:
        if isinstance(each, str):
            ids.append(each)
        elif isinstance(each, Message):
            ids.append(each.id)
        else:
            ids.extend(_ids(each))
    return ids


def _count(data: Any) -> int:
    return int(data["count"])


def ack(named: Iterable[Union[Named, Iterable[Named]]]) -> Call[int]:
    """Acknowledges messages."""
    return Call("POST", "/v1/inbox/ack", _count, body=encode_json({"ids": _ids(named)}))


def clear(named: Iterable[Union[Named, Iterable[Named]]], read: bool, all: bool) -> Call[int]:
    """Removes messages for good."""
    fields = {"ids": _ids(named) or None, "read": read or None, "all": all or None}
    return Call("POST", "/v1/inbox/clear", _count, body=encode_json(fields))


def outbox() -> Call[List[Outgoing]]:
    """What waits to be delivered."""
    return Call("GET", "/v1/outbox", lambda data: [Outgoing.parse(each) for each in data["messages"]])


def cancel_messages(ids: Iterable[str]) -> Call[Any]:
    """Gives waiting messages up."""
    return Call("POST", "/v1/outbox/cancel", as_is, body=encode_json({"ids": list(ids)}))


def received() -> Call[List[Received]]:
    """The files that came."""
    return Call("GET", "/v1/received", lambda data: [Received.parse(each) for each in data["files"]])


FOLLOW = "/v1/inbox/follow"


def go_on(query: Query) -> Callable[[Message], Query]:
    """The same query from after a message."""
    return lambda last: tuple(each for each in query if each[0] != "after") + (("after", last.seq),)
