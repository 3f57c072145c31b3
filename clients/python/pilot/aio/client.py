"""The driver, for asyncio: `connect` gives a `Pilot`."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE
from datetime import timedelta
from types import TracebackType
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Type, TypeVar, Union

from .. import _call, _ctl, _http, _mail, _node, _work
from .._call import Call, Duration
from ..client import TIMEOUT
from ..event import Event
from ..records import Message, Outgoing, Received, Sent, Task
from ..streams import CONNECT, PROTOCOL
from . import _link
from .events import Events
from .follow import Follow, Listener
from .subscription import Subscription

T = TypeVar("T")


async def connect(socket: Optional[str] = None, *, timeout: float = TIMEOUT) -> Pilot:
    """The node of this machine, by its local socket: `socket`, PILOT_SOCKET or the default place."""
    agent = Pilot(socket or _call.default_socket(), timeout)
    await agent.refresh()
    return agent


class Pilot:
    """A node, asked over its local socket. For the tasks of one event loop.

    NODE is a hostname, a node ID, an address, an overlay IPv6 address or a public key. Durations are seconds or
    `timedelta`. Everything raises `PilotError`.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.socket = path
        self._timeout = timeout
        self._events = Events(path, timeout)
        self._info: Dict[str, Any] = {}

    async def refresh(self) -> None:
        """Reads hostname, node ID and address anew."""
        self._info = await self.info()

    async def __aenter__(self) -> Pilot:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends publishing. Subscriptions, listeners and streams are closed by themselves."""
        await self._events.close()

    async def _do(self, call: Call[T]) -> T:
        return await _link.ask(self.socket, call, self._timeout)

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

    async def info(self) -> Dict[str, Any]:
        """Who it is, now."""
        return await self._do(_node.info())

    async def peers(self) -> List[Dict[str, Any]]:
        """The trusted nodes and the path to each."""
        return await self._do(_node.peers())

    async def find(self, node: str) -> Dict[str, Any]:
        """One trusted node."""
        return await self._do(_node.find(node))

    async def whois(self, address: str) -> Dict[str, Any]:
        """The node behind an overlay address."""
        return await self._do(_node.whois(address))

    async def wait(self, condition: str = "ready", timeout: Duration = 30.0) -> Dict[str, Any]:
        """Returns as soon as it holds: `ready`, a node (connected), `direct:` and a node."""
        return await self._do(_node.wait(condition, timeout))

    async def call(self, verb: str, **fields: Any) -> Any:
        """Any other verb of docs/cli.md: `call("handshake", target="alpha", reason="…")`."""
        return await self._do(_call.verb(verb, fields))

    # Events.

    def events(self) -> Events:
        """The event stream."""
        return self._events

    async def publish(
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
        await self._events.publish(
            topic, data, content_type=content_type, headers=headers, reply_to=reply_to, node=node
        )

    async def subscribe(
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
        return await self._events.subscribe(
            *patterns, since=since, last=last, group=group, node=node, overflow=overflow, queue=queue
        )

    async def request(self, topic: str, data: Any, *, timeout: Duration = 5.0, node: Optional[str] = None) -> Event:
        """As `Events.request`."""
        return await self._events.request(topic, data, timeout=timeout, node=node)

    # Messages and files.

    async def send_message(
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
        return await self._do(_mail.send_message(node, data, type, id, expires, wait))

    async def inbox(
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
        return await self._do(_mail.inbox(_mail.inbox_query(sender, type, after, unread, limit, id)))

    async def follow_inbox(
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
        follow = Follow(self.socket, self._timeout, _mail.FOLLOW, query, Message.parse, again)
        await follow.open()
        return follow

    async def ack(self, *messages: Union[str, Message, Iterable[Union[str, Message]]]) -> int:
        """Acknowledges messages, or IDs: they are read. Gives how many."""
        return await self._do(_mail.ack(messages))

    async def clear(
        self, *messages: Union[str, Message, Iterable[Union[str, Message]]], read: bool = False, all: bool = False
    ) -> int:
        """Removes messages for good: these, those that are read, or all. Gives how many."""
        return await self._do(_mail.clear(messages, read, all))

    async def outbox(self) -> List[Outgoing]:
        """What waits to be delivered."""
        return await self._do(_mail.outbox())

    async def cancel_messages(self, *ids: str) -> None:
        """Gives messages in the outbox up."""
        await self._do(_mail.cancel_messages(ids))

    async def received(self) -> List[Received]:
        """The files that came."""
        return await self._do(_mail.received())

    async def send_file(self, node: str, path: Union[str, "os.PathLike[str]"]) -> Dict[str, Any]:
        """Sends a file of any size, as `pilotctl send-file` does, which must be in PATH. Returns when it is there."""
        try:
            process = await asyncio.create_subprocess_exec(
                *_ctl.send_file(self.socket, node, path), stdin=DEVNULL, stdout=PIPE, stderr=PIPE
            )
        except FileNotFoundError:
            raise _ctl.missing() from None
        return _ctl.outcome(*await process.communicate())

    # Streams.

    async def connect_stream(self, node: str, port: int = 1000) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stream to whoever listens on a port of a node."""
        request = _http.upgrade(CONNECT, PROTOCOL, (("node", node), ("port", port)))
        return await _link.upgrade(self.socket, request, self._timeout)

    async def listen(self, port: int = 1000) -> Listener:
        """Streams that come in on a port: triples of a reader, a writer and their caller."""
        listener = Listener(self.socket, self._timeout, port)
        await listener.open()
        return listener

    # Tasks.

    async def submit_task(
        self, node: str, task: Any, *, id: Optional[str] = None, deadline: Optional[Duration] = None
    ) -> Task:
        """Gives a node something to do: any JSON value."""
        return await self._do(_work.submit_task(node, task, id, deadline))

    async def tasks(
        self, *, state: Optional[str] = None, direction: Optional[str] = None, node: Optional[str] = None
    ) -> List[Task]:
        """The tasks that match; `direction` is `in` or `out`."""
        return await self._do(_work.tasks(_work.tasks_query(state, direction, node)))

    async def follow_tasks(
        self, *, state: Optional[str] = None, direction: Optional[str] = None, node: Optional[str] = None
    ) -> Follow[Task]:
        """The tasks that match, and then each change; all of them once more after a restart of the daemon."""
        query = _work.tasks_query(state, direction, node)
        follow = Follow(self.socket, self._timeout, _work.FOLLOW, query, Task.parse)
        await follow.open()
        return follow

    async def task(self, id: str) -> Task:
        """One task."""
        return await self._do(_work.task(id))

    async def accept_task(self, id: str) -> Task:
        """Takes a task on."""
        return await self._do(_work.decide_task(id, "accept", {}))

    async def decline_task(self, id: str, reason: str = "") -> Task:
        """Refuses one."""
        return await self._do(_work.decide_task(id, "decline", {"reason": reason}))

    async def report_task(self, id: str) -> Task:
        """Says that one runs."""
        return await self._do(_work.decide_task(id, "finish", {"running": True}))

    async def finish_task(self, id: str, result: Any = None, *, ok: bool = True) -> Task:
        """Gives the result of one: any JSON value."""
        return await self._do(_work.decide_task(id, "finish", {"ok": ok, "result": result}))

    async def cancel_task(self, id: str, reason: str = "") -> Task:
        """Withdraws one that we submitted."""
        return await self._do(_work.decide_task(id, "cancel", {"reason": reason}))
