#!/usr/bin/env python3
"""Everything that the driver does, against a node that runs: `PILOT_SOCKET=… live.py [GROUP…]`.

The node talks to itself. One line a check, `ok NAME` or `FAILED NAME: why`; exit status 1 if one failed. Groups are
node, events, messages, streams, tasks, asyncio; all of them without arguments.
"""

import asyncio
import os
import sys
import threading
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pilot  # noqa: E402
import pilot.aio  # noqa: E402

# What is published and sent, and read back as the same value, byte for byte where it is bytes.
VALUES = [{"a": 1, "ü": [None, True, 1.5]}, [], "price_spike", 7, None, b"\x00\xff\n", "x" * 100_000]


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what} {str(found)[:200]!r} instead of {str(expected)[:200]!r}")


def refused(code, call):
    try:
        call()
    except pilot.PilotError as problem:
        equal(problem.code, code, str(problem))
        if not problem.message:
            raise AssertionError("a refusal without a message") from problem
        return
    raise AssertionError(f"not refused with {code}")


def fresh(prefix):
    """A topic or an ID that no other run uses."""
    return f"{prefix}.{uuid.uuid4().hex[:12]}"


# Node.


def node_tells_who_it_is(agent):
    info = agent.info()
    equal((agent.node_id, agent.address), (info["node_id"], info["ipv6"]))
    equal(agent.hostname, info["hostname"] or info["node_id"])
    equal(agent.wait("ready", timeout=10)["condition"], "ready")
    equal(agent.call("whois", address=agent.address)["node_id"], agent.node_id)


def node_refuses_with_code_and_hint(agent):
    refused("not_found", lambda: agent.find("nobody-of-that-name"))
    refused("not_found", lambda: agent.call("nonsense"))
    equal(isinstance(agent.peers(), list), True)


# Events.


def events_come_back_as_they_were(agent):
    topic = fresh("live")
    with agent.subscribe(f"{topic}.*") as subscription:
        for number, value in enumerate(VALUES):
            agent.publish(f"{topic}.v{number}", value)
        for number, value in enumerate(VALUES):
            event = subscription.get(10)
            equal((event.topic, event.data), (f"{topic}.v{number}", value))
            equal((event.source, event.seq > 0), (agent.node_id, True))
            equal(abs(event.time.timestamp() - time.time()) < 60, True, "time")


def events_have_headers_and_content_types(agent):
    topic = fresh("live")
    with agent.subscribe(topic) as subscription:
        agent.publish(topic, "plain", content_type="text/plain", headers={"trace": "1"})
        agent.publish(topic, '{"a":  1.0}', content_type="application/json")
        first, second = subscription.get(10), subscription.get(10)
        equal((first.data, first.content_type, first.headers), ("plain", "text/plain", {"trace": "1"}))
        equal((second.raw, second.content_type), (b'{"a":  1.0}', "application/json"))


def events_match_patterns(agent):
    topic = fresh("live")
    with agent.subscribe(f"{topic}.*.end", f"{topic}.tail.>") as subscription:
        for tail in ("a.end", "a.b.end", "tail.x.y", "tail", "end"):
            agent.publish(f"{topic}.{tail}", tail)
        equal([subscription.get(10).data for _ in range(2)], ["a.end", "tail.x.y"])
        refused("timeout", lambda: subscription.get(0.2))


def events_keep_order_in_bulk(agent):
    topic, count = fresh("live"), 20_000
    with agent.subscribe(topic, queue=65_536) as subscription:
        writer = threading.Thread(target=lambda: agent.events().publish_many((topic, n) for n in range(count)))
        writer.start()
        seen = [subscription.get(30).data for _ in range(count)] if not subscription.missed else []
        writer.join()
        equal(subscription.missed, 0, "missed")
        equal(seen, list(range(count)), "order")


def events_missed_are_counted(agent):
    topic, count = fresh("live"), 30_000
    with agent.subscribe(topic, queue=100) as slow:
        agent.events().publish_many((topic, "x" * 200) for _ in range(count))
        agent.publish(topic, "end")
        agent.events().flush()
        seen = 0
        while slow.get(10).data != "end":
            seen += 1
        equal(seen + slow.missed, count, "what was seen and missed")
        equal(slow.missed > 0, True, "missed")


def events_flush_and_remember_the_last(agent):
    topic = fresh("live")
    agent.publish(f"{topic}.a", 1)
    agent.publish(f"{topic}.a", 2)
    agent.publish(f"{topic}.b", {"x": 3})
    agent.events().flush()
    equal(sorted((event.topic, event.data) for event in agent.events().last(f"{topic}.*")),
          [(f"{topic}.a", 2), (f"{topic}.b", {"x": 3})])  # fmt: skip
    with agent.subscribe(f"{topic}.*", last=True) as subscription:
        equal(sorted(str(subscription.get(10).data) for _ in range(2)), ["2", "{'x': 3}"])


def events_can_be_resumed(agent):
    topic = fresh("live")
    for number in range(5):
        agent.publish(topic, number)
    agent.events().flush()
    with agent.subscribe(topic, since="1h", node=agent.node_id) as subscription:
        first = [subscription.get(10) for _ in range(5)]
        equal([event.data for event in first], list(range(5)))
    with agent.subscribe(topic, since=first[2].seq) as subscription:
        equal([subscription.get(10).data for _ in range(2)], [3, 4])


def events_of_a_group_go_to_one_member(agent):
    topic = fresh("live")
    with agent.subscribe(topic, group="g") as one, agent.subscribe(topic, group="g") as two:
        for number in range(50):
            agent.publish(topic, number)
        agent.publish("live.end", 0)
        agent.events().flush()
        seen = []
        for member in (one, two):
            try:
                while True:
                    seen.append(member.get(0.5).data)
            except pilot.Timeout:
                pass
        equal(sorted(seen), list(range(50)))


def events_can_be_answered(agent):
    topic = fresh("live")
    with agent.subscribe(topic) as questions:

        def answer():
            question = questions.get(10)
            question.reply({"double": question.data * 2})

        responder = threading.Thread(target=answer)
        responder.start()
        equal(agent.request(topic, 21).data, {"double": 42})
        responder.join()
    refused("timeout", lambda: agent.request(fresh("nobody"), 1, timeout=0.2))


def events_that_are_wrong_are_refused(agent):
    refused("invalid_topic", lambda: agent.publish("not a topic", 1))
    refused("invalid_topic", lambda: agent.subscribe("a..b"))
    refused("too_large", lambda: agent.publish("live.large", b"x" * (1 << 20)))
    refused("not_found", lambda: agent.publish("live.x", 1, node="nobody-of-that-name"))


# Messages.


def messages_come_back_as_they_were(agent):
    with agent.follow_inbox(after=newest(agent)) as inbox:
        for value in VALUES:
            sent = agent.send_message(agent.node_id, value)
            equal(sent.state, "delivered")
            message = next(inbox)
            equal((message.id, message.data, message.sender), (sent.id, value, agent.node_id))
            equal(message.type, {bytes: "binary", str: "text"}.get(type(value), "json"))


def messages_are_delivered_once(agent):
    id = fresh("live")
    for _ in range(3):
        agent.send_message(agent.node_id, "once", id=id)
    equal([message.id for message in agent.inbox(id=id)], [id])


def messages_are_read_and_cleared(agent):
    after = newest(agent)
    ids = [agent.send_message(agent.node_id, {"n": n}).id for n in range(3)]
    equal([message.id for message in agent.inbox(after=after, unread=True)], ids)
    equal(agent.ack(agent.inbox(id=ids[0])), 1)
    equal([message.id for message in agent.inbox(after=after, unread=True)], ids[1:])
    equal(agent.clear(ids), 3)
    equal(agent.inbox(after=after), [])
    equal(isinstance(agent.outbox(), list), True)


def messages_that_are_wrong_are_refused(agent):
    refused("invalid_json", lambda: agent.send_message(agent.node_id, "{", type="json"))
    refused("not_found", lambda: agent.send_message("nobody-of-that-name", "x"))
    refused("too_large", lambda: agent.send_message(agent.node_id, "x" * ((1 << 20) + 1)))


def newest(agent):
    """The place of the newest message in the inbox."""
    messages, after = [], 0
    while True:
        messages = agent.inbox(after=after)
        if not messages:
            return after
        after = messages[-1].seq


# Streams.


def streams_carry_bytes_both_ways(agent):
    sent = os.urandom(1 << 20)
    with agent.listen(1000) as listener:
        echo = threading.Thread(target=echo_one, args=(listener, agent.node_id))
        echo.start()
        with agent.connect_stream(agent.node_id, 1000) as stream:
            writer = threading.Thread(target=lambda: (stream.sendall(sent), stream.shutdown(1)))
            writer.start()
            equal(stream.makefile("rb").read() == sent, True, "the bytes of the stream")
            writer.join()
        echo.join()


def echo_one(listener, node_id):
    stream, caller = next(listener)
    with stream:
        while data := stream.recv(1 << 16):
            stream.sendall(data)
        if caller.node_id == node_id:
            stream.shutdown(1)


def streams_need_a_listener(agent):
    refused("no_listener", lambda: agent.connect_stream(agent.node_id, 1009))


# Tasks.


def tasks_are_done(agent):
    with agent.follow_tasks(direction="in") as incoming:
        task = agent.submit_task(agent.node_id, {"task": "vector_search", "target": "knowledge_base"})
        equal((task.state, task.sender, task.worker), ("submitted", agent.node_id, agent.node_id))
        seen = next(each for each in incoming if each.id == task.id)
        equal(seen.task, {"task": "vector_search", "target": "knowledge_base"})
    agent.accept_task(task.id)
    equal(agent.finish_task(task.id, {"hits": 3}).state, "done")
    done = until(lambda: agent.task(task.id), lambda task: task.state == "done")
    equal(done.result, {"hits": 3})
    equal(task.id in [each.id for each in agent.tasks(state="done")], True, "the list of tasks")


def tasks_are_declined(agent):
    task = agent.submit_task(agent.node_id, "anything")
    agent.decline_task(task.id, "no time")
    until(lambda: agent.task(task.id), lambda task: task.state == "declined")


def tasks_and_results_are_any_json(agent):
    for value in (None, "text", [1.5, None], 7):
        task = agent.submit_task(agent.node_id, value)
        equal(agent.task(task.id).task, value)
        agent.finish_task(task.id, value)
        equal(until(lambda: agent.task(task.id), lambda task: task.state == "done").result, value)


def until(look, holds):
    """Looks until it holds; 10 seconds at most."""
    deadline = time.monotonic() + 10
    while True:
        found = look()
        if holds(found):
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"it does not come to hold: {found}")
        time.sleep(0.02)


# Asyncio: the same sockets, awaited.


def asyncio_events(agent):
    async def program():
        topic = fresh("live")
        async with await pilot.aio.connect() as agent, await agent.subscribe(f"{topic}.*") as subscription:
            for number, value in enumerate(VALUES):
                await agent.publish(f"{topic}.v{number}", value)
            equal([(await subscription.get(10)).data for _ in VALUES], VALUES)
            await agent.events().publish_many((f"{topic}.n", n) for n in range(1000))
            await agent.events().flush()
            equal([(await subscription.get(10)).data for _ in range(1000)], list(range(1000)))
            await asyncio.gather(answering(subscription), asking(agent, f"{topic}.ask"))

    async def answering(questions):
        await (await questions.get(10)).reply("yes")

    async def asking(agent, topic):
        equal((await agent.request(topic, "really?")).data, "yes")

    asyncio.run(program())


def asyncio_messages(agent):
    async def program():
        async with await pilot.aio.connect() as agent:
            async with await agent.follow_inbox(after=newest_now) as inbox:
                sent = await agent.send_message(agent.node_id, {"a": 1})
                message = await inbox.__anext__()
                equal((message.id, message.data), (sent.id, {"a": 1}))
                equal(await agent.ack(message), 1)

    newest_now = newest(agent)
    asyncio.run(program())


def asyncio_streams(agent):
    async def program():
        async with await pilot.aio.connect() as agent, await agent.listen() as listener:
            await asyncio.gather(echoing(listener), speaking(agent))

    async def echoing(listener):
        reader, writer, _ = await listener.__anext__()
        writer.write(await reader.read())
        await writer.drain()
        writer.close()

    async def speaking(agent):
        reader, writer = await agent.connect_stream(agent.node_id)
        writer.write(b"x" * 300_000)
        await writer.drain()
        writer.write_eof()
        equal(len(await reader.read()), 300_000)
        writer.close()

    asyncio.run(program())


GROUPS = ("node", "events", "messages", "streams", "tasks", "asyncio")


def main():
    wanted = sys.argv[1:] or GROUPS
    agent = pilot.connect()
    failed = 0
    for name, check in list(globals().items()):
        group = name.split("_")[0]
        if group not in wanted and name not in wanted or group not in GROUPS or not callable(check):
            continue
        try:
            check(agent)
            print(f"ok {name}", flush=True)
        except Exception as problem:  # Whatever it is, the other checks still run.
            failed += 1
            print(f"FAILED {name}: {type(problem).__name__}: {problem}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
