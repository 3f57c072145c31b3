"""The driver, blocking: `connect` gives a `Pilot`."""

from __future__ import annotations

import os
import socket
import subprocess
from datetime import timedelta
from types import TracebackType
from typing import Any, Dict, Iterable, List, Mapping, Optional, Type, TypeVar, Union

from . import _call, _ctl, _link, _mail, _node, _work, streams
from ._call import Call, Duration
from .event import Event
from .events import Events
from .follow import Follow
from .records import Message, Outgoing, Received, Sent, Task
from .subscription import Subscription

T = TypeVar("T")

# How long the daemon may take to answer, seconds, beyond what it was asked to wait.
TIMEOUT = 10.0


def connect(socket: Optional[str] = None, *, timeout: float = TIMEOUT) -> Pilot:
    """The node of this machine, by its local socket: `socket`, PILOT_SOCKET or the default place."""
    return Pilot(socket or _call.default_socket(), timeout)


class Pilot:
    """A node, asked over its local socket. May be used by several threads at once.

    NODE is a hostname, a node ID, an address, an overlay IPv6 address or a public key. Durations are seconds or
    `timedelta`. Everything raises `PilotError`.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.socket = path
        self._timeout = timeout
        self._events = Events(path, timeout)
        self._info = self.info()

    def __enter__(self) -> Pilot:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends publishing. Subscriptions, listeners and streams are closed by themselves."""
        self._events.close()

    def _do(self, call: Call[T]) -> T:
        return _link.ask(self.socket, call, self._timeout)

    # The node.

    @property
    def hostname(self) -> str:
        """Its name when we connected; its node ID where it has none."""
        return self._info.get("hostname") or self.node_id

    @property
    def node_id(self) -> str:
        """Its node ID, `a1b2.c3d4.e5f6`."""
        return str(self._info["node_id"])

    @property
    def address(self) -> str:
        """Its overlay IPv6 address."""
        return str(self._info["ipv6"])

    def info(self) -> Dict[str, Any]:
        """Who it is, now."""
        return self._do(_node.info())

    def peers(self) -> List[Dict[str, Any]]:
        """The trusted nodes and the path to each."""
        return self._do(_node.peers())

    def find(self, node: str) -> Dict[str, Any]:
        """One trusted node."""
        return self._do(_node.find(node))

    def whois(self, address: str) -> Dict[str, Any]:
        """The node behind an overlay address."""
        return self._do(_node.whois(address))

    def wait(self, condition: str = "ready", timeout: Duration = 30.0) -> Dict[str, Any]:
        """Returns as soon as it holds: `ready`, a node (connected), `direct:` and a node."""
        return self._do(_node.wait(condition, timeout))

    def call(self, verb: str, **fields: Any) -> Any:
        """Any other verb of docs/cli.md: `call("handshake", target="alpha", reason="…")`."""
        return self._do(_call.verb(verb, fields))

    # Events.

    def events(self) -> Events:
        """The event stream."""
        return self._events

    def publish(
        self,
        topic: str,
        data: Any,
        *,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        reply_to: str = "",
        node: Optional[str] = None,
    ) -> None:
        """As `Events.publish`."""
        self._events.publish(topic, data, content_type=content_type, headers=headers, reply_to=reply_to, node=node)

    def subscribe(
        self,
        *patterns: str,
        since: Union[int, str, timedelta, None] = None,
        last: bool = False,
        group: str = "",
        node: str = "",
        overflow: str = "drop-oldest",
        queue: int = 0,
    ) -> Subscription:
        """As `Events.subscribe`."""
        return self._events.subscribe(
            *patterns, since=since, last=last, group=group, node=node, overflow=overflow, queue=queue
        )

    def request(self, topic: str, data: Any, *, timeout: Duration = 5.0, node: Optional[str] = None) -> Event:
        """As `Events.request`."""
        return self._events.request(topic, data, timeout=timeout, node=node)

    # Messages and files.

    def send_message(
        self,
        node: str,
        data: Any,
        *,
        type: Optional[str] = None,
        id: Optional[str] = None,
        expires: Optional[Duration] = None,
        wait: Duration = 2.0,
    ) -> Sent:
        """Sends a message: it is on disk when this returns, at the receiver (`delivered`) or here (`queued`).

        `type` is `text` for `str`, `binary` for `bytes`, else `json`; text with `type="json"` is JSON already.
        """
        return self._do(_mail.send_message(node, data, type, id, expires, wait))

    def inbox(
        self,
        *,
        sender: Optional[str] = None,
        type: Optional[str] = None,
        after: Optional[int] = None,
        unread: bool = False,
        limit: Optional[int] = None,
        id: Optional[str] = None,
    ) -> List[Message]:
        """The messages that match, oldest first."""
        return self._do(_mail.inbox(_mail.inbox_query(sender, type, after, unread, limit, id)))

    def follow_inbox(
        self,
        *,
        sender: Optional[str] = None,
        type: Optional[str] = None,
        after: Optional[int] = None,
        unread: bool = False,
    ) -> Follow[Message]:
        """The messages that match, and then each new one as it comes; none twice."""
        query = _mail.inbox_query(sender, type, after, unread, None, None)
        again = _mail.go_on(query)
        return Follow(self.socket, self._timeout, _mail.FOLLOW, query, Message.parse, again)

    def ack(self, *messages: Union[str, Message, Iterable[Union[str, Message]]]) -> int:
        """Acknowledges messages, or IDs: they are read. Gives how many."""
        return self._do(_mail.ack(messages))

    def clear(
        self, *messages: Union[str, Message, Iterable[Union[str, Message]]], read: bool = False, all: bool = False
    ) -> int:
        """Removes messages for good: these, those that are read, or all. Gives how many."""
        return self._do(_mail.clear(messages, read, all))

    def outbox(self) -> List[Outgoing]:
        """What waits to be delivered."""
        return self._do(_mail.outbox())

    def cancel_messages(self, *ids: str) -> None:
        """Gives messages in the outbox up."""
        self._do(_mail.cancel_messages(ids))

    def received(self) -> List[Received]:
        """The files that came."""
        return self._do(_mail.received())

    def send_file(self, node: str, path: Union[str, "os.PathLike[str]"]) -> Dict[str, Any]:
        """Sends a file of any size, as `pilotctl send-file` does, which must be in PATH. Returns when it is there."""
        try:
            done = subprocess.run(
                _ctl.send_file(self.socket, node, path), stdin=subprocess.DEVNULL, capture_output=True
            )
        except FileNotFoundError:
            raise _ctl.missing() from None
        return _ctl.outcome(done.stdout, done.stderr)

    # Streams.

    def connect_stream(self, node: str, port: int = 1000) -> socket.socket:
        """A stream to whoever listens on a port of a node: a connected socket."""
        return streams.connect(self.socket, self._timeout, node, port)

    def listen(self, port: int = 1000) -> streams.Listener:
        """Streams that come in on a port: pairs of a socket and its caller."""
        return streams.Listener(self.socket, self._timeout, port)

    # Tasks.

    def submit_task(
        self, node: str, task: Any, *, id: Optional[str] = None, deadline: Optional[Duration] = None
    ) -> Task:
        """Gives a node something to do: any JSON value."""
        return self._do(_work.submit_task(node, task, id, deadline))

    def tasks(
        self, *, state: Optional[str] = None, direction: Optional[str] = None, node: Optional[str] = None
    ) -> List[Task]:
        """The tasks that match; `direction` is `in` or `out`."""
        return self._do(_work.tasks(_work.tasks_query(state, direction, node)))

    def follow_tasks(
        self, *, state: Optional[str] = None, direction: Optional[str] = None, node: Optional[str] = None
    ) -> Follow[Task]:
        """The tasks that match, and then each change; all of them once more after a restart of the daemon."""
        query = _work.tasks_query(state, direction, node)
        return Follow(self.socket, self._timeout, _work.FOLLOW, query, Task.parse)

    def task(self, id: str) -> Task:
        """One task."""
        return self._do(_work.task(id))

    def accept_task(self, id: str) -> Task:
        """Takes a task on."""
        return self._do(_work.decide_task(id, "accept", {}))

    def decline_task(self, id: str, reason: str = "") -> Task:
        """Refuses one."""
        return self._do(_work.decide_task(id, "decline", {"reason": reason}))

    def report_task(self, id: str) -> Task:
        """Says that one runs."""
        return self._do(_work.decide_task(id, "finish", {"running": True}))

    def finish_task(self, id: str, result: Any = None, *, ok: bool = True) -> Task:
        """Gives the result of one: any JSON value."""
        return self._do(_work.decide_task(id, "finish", {"ok": ok, "result": result}))

    def cancel_task(self, id: str, reason: str = "") -> Task:
        """Withdraws one that we submitted."""
        return self._do(_work.decide_task(id, "cancel", {"reason": reason}))
