"""A call as data: what to ask, and how to read the answer. Shared by the sync and the asyncio driver."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Callable, Generic, Mapping, Optional, Tuple, TypeVar, Union

from . import _http
from .errors import InvalidRequest

T = TypeVar("T")

Duration = Union[int, float, timedelta]
Query = Tuple[Tuple[str, Any], ...]


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request and the reading of its answer; `patience` is how long the node itself may wait, seconds."""

    method: str
    path: str
    read: Callable[[Any], T]
    query: Query = ()
    body: Optional[bytes] = None
    patience: float = 0.0

    def encode(self) -> bytes:
        """The request."""
        return _http.request(self.method, self.path, self.query, self.body)


def seconds(duration: Duration) -> float:
    """A duration as seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def millis(duration: Duration) -> int:
    """A duration as milliseconds."""
    return max(0, round(seconds(duration) * 1000))


def default_socket() -> str:
    """Where the daemon's socket is when nothing else is said: PILOT_SOCKET, the user's folder, the system's."""
    named = os.environ.get("PILOT_SOCKET")
    if named:
        return named
    system, user = "/run/pilot/pilotd.sock", os.geteuid()
    if user == 0:
        return system
    folder = os.environ.get("XDG_RUNTIME_DIR")
    own = f"{folder}/pilot/pilotd.sock" if folder else f"/tmp/pilot-{user}/pilotd.sock"
    return own if os.path.exists(own) or not os.path.exists(system) else system


def as_is(data: Any) -> Any:
    return data


def encode_json(fields: Mapping[str, Any], raw: Optional[Tuple[str, str]] = None) -> bytes:
    """A JSON object of the fields that are not None; `raw` is one more, already encoded."""
    text = json.dumps({name: value for name, value in fields.items() if value is not None}, ensure_ascii=False)
    if raw is not None:
        text = f"{text[:-1]}{', ' if len(text) > 2 else ''}{json.dumps(raw[0])}: {raw[1]}}}"
    return text.encode()


def read(verb: str, fields: Mapping[str, Any], pick: Callable[[Any], T], patience: float = 0.0) -> Call[T]:
    """A GET of docs/cli.md."""
    return Call("GET", f"/v1/{verb}", pick, tuple(fields.items()), patience=patience)


def change(verb: str, fields: Mapping[str, Any], patience: float = 0.0) -> Call[Any]:
    """A POST of docs/cli.md."""
    return Call("POST", f"/v1/{verb}", as_is, body=encode_json(fields), patience=patience)


def verb(name: str, fields: Mapping[str, Any]) -> Call[Any]:
    """Any verb of docs/cli.md, by its name."""
    reads = ("info", "status", "peers", "pending", "trusted", "config", "find", "whois", "wait")
    return read(name, fields, as_is) if name in reads else change(name, fields)


def checked(text: str) -> str:
    """`text`, which must be JSON."""
    try:
        json.loads(text)
    except ValueError as problem:
        raise InvalidRequest("invalid_json", f"the data is no JSON: {problem}", "say another content type") from None
    return text
