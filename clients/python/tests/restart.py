#!/usr/bin/env python3
"""A program that outlives its daemon: `PILOT_SOCKET=… restart.py`.

Subscribes, follows the inbox and listens, says `restart`, and waits until somebody restarts the daemon, in whatever
way. Then each of them goes on by itself: one line each, `ok NAME`; exit status 1 if one does not within a minute.
"""

import asyncio
import sys
import threading
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pilot  # noqa: E402
import pilot.aio  # noqa: E402
from pilot import _link  # noqa: E402

PATIENCE = 60


def awaited(subscribed, finished):
    """The same with asyncio, in a thread of its own."""

    async def program():
        async with await pilot.aio.connect() as agent, await agent.subscribe("restart.*") as subscription:
            subscribed.set()
            await subscription.get(PATIENCE)
            finished.set()

    asyncio.run(program())


def in_thread(work, *arguments):
    threading.Thread(target=work, args=arguments, daemon=True).start()


def ended(path):
    """Returns when the daemon that answers now has ended: a link to it breaks."""
    link = _link.Link(path, None, PATIENCE)
    print("restart", flush=True)
    try:
        link.receive(PATIENCE)
    except ConnectionError:
        return
    sys.exit("FAILED: the daemon was not restarted")


def comes(inbox, text, finished):
    """Waits for a message."""
    for message in inbox:
        if message.data == text:
            return finished.set()


def until(name, act, finished):
    """Acts again and again until it is finished."""
    deadline = time.monotonic() + PATIENCE
    while not finished.wait(0.05):
        if time.monotonic() > deadline:
            sys.exit(f"FAILED {name}: not within {PATIENCE} s")
        try:
            act()
        except (pilot.NotRunning, pilot.Unreachable):
            continue
    print(f"ok {name}", flush=True)


def main():
    agent = pilot.connect()
    subscription, inbox, listener = agent.subscribe("restart.*"), agent.follow_inbox(), agent.listen(1000)
    subscribed, events, awaited_events, messages, streams = (threading.Event() for _ in range(5))
    text = uuid.uuid4().hex
    in_thread(awaited, subscribed, awaited_events)
    in_thread(lambda: (next(subscription), events.set()))
    in_thread(comes, inbox, text, messages)
    in_thread(lambda: (next(listener)[0].close(), streams.set()))
    if not subscribed.wait(PATIENCE):
        sys.exit("FAILED asyncio subscription: it does not begin")
    ended(agent.socket)
    until("subscription", lambda: agent.publish("restart.a", 1), events)
    until("asyncio subscription", lambda: agent.publish("restart.a", 1), awaited_events)
    until("inbox", lambda: agent.send_message(agent.node_id, text), messages)
    until("listener", lambda: agent.connect_stream(agent.node_id).close(), streams)


if __name__ == "__main__":
    main()
