"""What a program sees when the daemon refuses, breaks off, or is away: both drivers."""

import asyncio
import contextlib
import socket
import threading
import unittest

import pilot
import pilot.aio
from pilot import _http, _wire

from .server import SWITCH, Server, answer, read_frames

REFUSAL = b'{"status":"error","code":"not_found","message":"no trusted node is called x","hint":"look at peers"}'


def flushed(number=1):
    return _wire.frame(b"\x28" + _wire.varint(number))


def events(*topics):
    return _wire.frame(b"".join(_wire.encode_event(topic, b"1") for topic in topics))


class Answers(unittest.TestCase):
    def test_an_answer_may_come_in_any_pieces(self):
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5;x=1\r\ndefgh\r\n0\r\n\r\n"
        plain = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nabcdefgh"
        for whole in (chunked, plain):
            for size in range(1, len(whole) + 1):
                reader, body = _http.Answer(), b""
                for start in range(0, len(whole), size):
                    body += reader.feed(whole[start : start + size])
                self.assertEqual((body, reader.done, reader.status), (b"abcdefgh", True, 200))

    def test_a_cut_or_endless_answer_is_an_error(self):
        for pieces in (
            [b""],
            [b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nabc", b""],
            [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab", b""],
            [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
            [b"SSH-2.0\r\n\r\n"],
            [b"x" * 70_000],
        ):
            with self.subTest(pieces=pieces[0][:40]), self.assertRaises(ValueError):
                reader = _http.Answer()
                for piece in pieces:
                    reader.feed(piece)


class Faults(unittest.TestCase):
    def serving(self, serve):
        here = Server(serve)
        self.addCleanup(here.close)
        return here

    def both(self, path, call, expected, timeout=10.0):
        """Makes the same call with both drivers; each raises `expected`."""
        raised = []
        with pilot.connect(path, timeout=timeout) as agent, self.assertRaises(expected) as context:
            call(agent)
        raised.append(context.exception)

        async def asynchronous():
            async with await pilot.aio.connect(path, timeout=timeout) as agent:
                await call(agent)

        with self.assertRaises(expected) as context:
            asyncio.run(asynchronous())
        raised.append(context.exception)
        self.assertEqual(raised[0].code, raised[1].code)
        return raised[0]

    def test_nobody_answers(self):
        with self.assertRaises(pilot.NotRunning) as context:
            pilot.connect("/nowhere/pilotd.sock")
        self.assertEqual(context.exception.code, "daemon_not_running")
        self.assertIn("pilotd up", str(context.exception))
        with self.assertRaises(pilot.NotRunning):
            asyncio.run(pilot.aio.connect("/nowhere/pilotd.sock"))

    def test_a_refusal_keeps_code_message_and_hint(self):
        path = self.serving(lambda connection, head: connection.sendall(answer(REFUSAL, 404))).path
        calls = [
            lambda agent: agent.find("x"),
            lambda agent: agent.send_message("x", {"a": 1}),
            lambda agent: agent.subscribe("a"),
            lambda agent: agent.connect_stream("x"),
            lambda agent: agent.follow_inbox(),
            lambda agent: agent.listen(),
            lambda agent: agent.submit_task("x", {}),
            lambda agent: agent.publish("t", 1, node="x"),
        ]
        for call in calls:
            problem = self.both(path, call, pilot.NotFound)
            self.assertEqual((problem.code, problem.hint), ("not_found", "look at peers"))

    def test_an_answer_that_is_cut_or_no_json(self):
        cut = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"
        path = self.serving(lambda connection, head: connection.sendall(cut)).path
        self.assertEqual(self.both(path, lambda agent: agent.peers(), pilot.NotRunning).code, "daemon_not_running")
        path = self.serving(lambda connection, head: connection.sendall(answer(b"<html>", 502))).path
        self.assertEqual(self.both(path, lambda agent: agent.peers(), pilot.NotRunning).code, "internal")

    def test_a_daemon_that_never_answers_is_given_up(self):
        path = self.serving(lambda connection, head: connection.recv(1)).path
        self.both(path, lambda agent: agent.peers(), pilot.Timeout, timeout=0.2)
        self.both(path, lambda agent: agent.subscribe("a"), pilot.Timeout, timeout=0.2)

    def test_a_refused_event_is_raised_by_flush(self):
        refusal = b"\x0a\x09too_large\x12\x01m\x1a\x01h"

        def link(connection, head):
            connection.sendall(SWITCH)
            for message in read_frames(connection):
                if message[0] == 0x18:
                    connection.sendall(
                        _wire.frame(b"\x32" + _wire.varint(len(refusal)) + refusal) + flushed(message[1])
                    )

        path = self.serving(link).path
        with pilot.connect(path) as agent:
            agent.publish("a", 1)
            with self.assertRaises(pilot.TooLarge):
                agent.events().flush()

        async def asynchronous():
            async with await pilot.aio.connect(path) as agent:
                await agent.publish("a", 1)
                await agent.events().flush()

        with self.assertRaises(pilot.TooLarge):
            asyncio.run(asynchronous())

    def test_a_refused_subscription_is_raised_at_once(self):
        def link(connection, head):
            connection.sendall(SWITCH + _wire.frame(b"\x32\x10\x0a\x0cbad_argument\x12\x00"))
            connection.recv(1 << 16)

        path = self.serving(link).path
        self.both(path, lambda agent: agent.subscribe("a"), pilot.InvalidRequest)


class Restarts(unittest.TestCase):
    """The fake daemon goes away and comes back; the program does nothing about it."""

    def setUp(self):
        self.asked = []
        self.published = []
        self.server = Server(self.link)
        self.addCleanup(self.server.close)

    def link(self, connection, head):
        connection.sendall(SWITCH)
        for message in read_frames(connection):
            if message[0] == 0x22:
                self.asked.append(message)
            elif message[0] == 0x18:
                connection.sendall(flushed(message[1]))
                if len(self.asked):
                    connection.sendall(events("life.%d" % len(self.asked)))
            else:
                self.published.append(message)

    def restart(self):
        self.server.stop()
        self.server.start()

    def test_a_subscription_goes_on(self):
        with pilot.connect(self.server.path) as agent, agent.subscribe("life.*") as subscription:
            self.assertEqual(subscription.get(10).topic, "life.1")
            self.restart()
            self.assertEqual(next(subscription).topic, "life.2")

    def test_a_subscription_goes_on_for_asyncio(self):
        async def program():
            async with await pilot.aio.connect(self.server.path) as agent:
                async with await agent.subscribe("life.*") as subscription:
                    self.assertEqual((await subscription.get(10)).topic, "life.1")
                    self.restart()
                    self.assertEqual((await subscription.get(10)).topic, "life.2")

        asyncio.run(program())

    def test_a_publisher_waits_for_the_daemon(self):
        with pilot.connect(self.server.path) as agent:
            agent.publish("a", 1)
            agent.events().flush()
            self.server.stop()
            back = threading.Timer(0.2, self.server.start)
            back.start()
            agent.publish("b", 2)
            agent.events().flush()
            back.join()
        self.assertEqual(self.published, [_wire.encode_event("a", b"1"), _wire.encode_event("b", b"2")])

    def test_flush_says_what_nobody_confirmed(self):
        with pilot.connect(self.server.path) as agent:
            agent.publish("a", 1)
            self.restart()
            agent.publish("b", 2)
            with self.assertRaisesRegex(pilot.NotRunning, "confirmed 1 events"):
                agent.events().flush()
            agent.events().flush()

        async def asynchronous():
            async with await pilot.aio.connect(self.server.path) as agent:
                await agent.publish("a", 1)
                self.restart()
                with self.assertRaises(pilot.NotRunning):
                    await agent.events().flush()
                await agent.publish("b", 2)
                await agent.events().flush()

        asyncio.run(asynchronous())

    def test_close_ends_an_iteration_of_another_thread(self):
        with pilot.connect(self.server.path) as agent:
            subscription = agent.subscribe("life.*")
            seen = []
            reader = threading.Thread(target=lambda: seen.extend(event.topic for event in subscription), daemon=True)
            reader.start()
            subscription.close()
            reader.join(10)
            self.assertFalse(reader.is_alive())
            self.assertLessEqual(seen, ["life.1"])


class Streams(unittest.TestCase):
    def test_not_a_byte_of_a_stream_is_lost_with_the_head(self):
        def stream(connection, head):
            connection.sendall(SWITCH + b"first")
            connection.sendall(b"second")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass

        with contextlib.closing(Server(stream)) as here, pilot.connect(here.path) as agent:
            with agent.connect_stream("alpha") as connection:
                self.assertEqual(connection.makefile("rb").read(), b"firstsecond")

            async def asynchronous():
                async with await pilot.aio.connect(here.path) as agent:
                    reader, writer = await agent.connect_stream("alpha")
                    self.assertEqual(await reader.read(), b"firstsecond")
                    writer.close()

            asyncio.run(asynchronous())


class Requests(unittest.TestCase):
    """What leaves, where the contract leaves a choice."""

    def body_of(self, call):
        bodies = []

        def keep(connection, head):
            size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = b""
            while len(body) < size:
                body += connection.recv(size)
            bodies.append(body)
            connection.sendall(answer(b'{"status":"ok","data":{"id":"1","state":"queued","seq":0,"count":1}}'))

        with contextlib.closing(Server(keep)) as here, pilot.connect(here.path) as agent:
            call(agent)
        return bodies[0]

    def test_json_text_is_sent_to_the_letter(self):
        body = self.body_of(lambda agent: agent.send_message("n", '{"a": 1.0}', type="json", id="x", wait=0))
        self.assertEqual(body, b'{"node": "n", "type": "json", "id": "x", "wait_ms": 0, "data": {"a": 1.0}}')
        body = self.body_of(lambda agent: agent.send_message("n", b"\xff", id="x", wait=0))
        self.assertIn(b'"type": "binary"', body)
        self.assertIn(b'"data_base64": "/w=="', body)
        with self.assertRaises(pilot.InvalidRequest):
            self.body_of(lambda agent: agent.send_message("n", "{", type="json"))

    def test_messages_have_an_id_so_that_a_retry_is_harmless(self):
        self.assertRegex(self.body_of(lambda agent: agent.send_message("n", "t")).decode(), '"id": "[0-9a-f]{32}"')

    def test_events_for_one_node_keep_their_kind(self):
        self.assertEqual(
            self.body_of(lambda agent: agent.publish("t", {"a": 1}, node="n")), b'{"topic": "t", "data": {"a":1}}'
        )
        text = self.body_of(lambda agent: agent.publish("t", "x", content_type="text/plain", node="n"))
        self.assertEqual(text, b'{"topic": "t", "content_type": "text/plain", "data": "x"}')


if __name__ == "__main__":
    unittest.main()
