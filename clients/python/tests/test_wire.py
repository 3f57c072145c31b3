"""The bytes of events and frames, against vectors written out by hand from the .proto."""

import random
import struct
import unittest
from datetime import datetime, timezone

from pilot import InvalidRequest, NotFound, TooLarge, _wire
from pilot._subscribe import Subscribe


def element(tag, value):
    return bytes([tag]) + _wire.varint(len(value)) + value


def event_bytes(data=b'{"a":1}', topic=b"a.b", seq=300, extra=b""):
    return (
        element(0x0A, topic)
        + element(0x12, data)
        + element(0x22, b"\x0a\x01k\x12\x01v")
        + element(0x2A, b"_reply.1")
        + b"\x48"
        + _wire.varint(seq)
        + element(0x52, b"a1b2.c3d4.e5f6")
        + b"\x59"
        + struct.pack("<Q", 1_764_072_000_000_001)
        + extra
    )


def decoded(message):
    return _wire.Frames(None).feed(_wire.frame(message))[0]


class Encoding(unittest.TestCase):
    def test_an_event_is_an_element_of_a_link_request(self):
        self.assertEqual(_wire.encode_event("a.b", b"1"), b"\x0a\x08\x0a\x03a.b\x12\x011")
        self.assertEqual(
            _wire.encode_event("a", b"", "text/plain", {"k": "v"}, "r"),
            b"\x0a\x1c\x0a\x01a\x12\x00\x1a\x0atext/plain\x22\x06\x0a\x01k\x12\x01v\x2a\x01r",
        )

    def test_lengths_over_127_take_two_bytes(self):
        self.assertEqual(_wire.encode_event("a", b"x" * 300)[:9], b"\x0a\xb2\x02\x0a\x01a\x12\xac\x02")

    def test_a_frame_says_its_length(self):
        self.assertEqual(_wire.frame(b"\x18\x01"), b"\x00\x00\x00\x02\x18\x01")
        with self.assertRaises(TooLarge):
            _wire.frame(bytes(_wire.MAX_FRAME + 1))
        with self.assertRaises(TooLarge):
            _wire.encode_event("a", bytes(_wire.MAX_EVENT))

    def test_a_subscription_has_every_field(self):
        wanted = Subscribe(["a.*", "b"], "n", since=7, last=True, group="g", overflow="disconnect", queue=200)
        self.assertEqual(
            _wire.encode_subscribe(*wanted.arguments()),
            b"\x22\x17\x0a\x03a.*\x0a\x01b\x12\x01n\x18\x07\x28\x01\x32\x01g\x38\x02\x40\xc8\x01",
        )
        self.assertEqual(
            _wire.encode_subscribe(*Subscribe(["b"], since="30s").arguments()), b"\x22\x07\x0a\x01b\x20\xb0\xea\x01"
        )

    def test_bad_topics_are_refused_before_they_leave(self):
        for topic in ("", ".", "a..b", "a.", "a b", "a.*", "a.>", "x" * 256, "a\n", "ü" * 128):
            with self.subTest(topic=topic), self.assertRaises(InvalidRequest):
                _wire.encode_event(topic, b"")
        for topic in ("a", "a.b-c_d", "x" * 255, "ü.ß", "_reply.1"):
            _wire.encode_event(topic, b"")


class Decoding(unittest.TestCase):
    def check(self, event):
        self.assertEqual((event.topic, event.raw, event.data), ("a.b", b'{"a":1}', {"a": 1}))
        self.assertEqual((event.seq, event.source, event.reply_to), (300, "a1b2.c3d4.e5f6", "_reply.1"))
        self.assertEqual((event.headers, event.content_type), ({"k": "v"}, "application/json"))
        self.assertEqual(event.time, datetime(2025, 11, 25, 12, 0, 0, 1, tzinfo=timezone.utc))

    def test_every_field_of_an_event(self):
        self.check(decoded(element(0x0A, event_bytes())).events[0])

    def test_fields_of_a_later_version_are_skipped(self):
        for extra in (b"\x60\x05", b"\x6a\x02hi", b"\xa2\x06\x02hi", b"\x65\x01\x02\x03\x04", b"\xa0\x06\x96\x01"):
            with self.subTest(extra=extra):
                self.check(decoded(element(0x0A, event_bytes(extra=extra))).events[0])
                self.check(decoded(element(0x0A, event_bytes()) + extra).events[0])

    def test_a_batch_says_what_was_missed_flushed_and_refused(self):
        refusal = b"\x0a\x09not_found\x12\x04what\x1a\x04next"
        batch = decoded(element(0x0A, event_bytes()) + b"\x12\x03\x08\xac\x02" + b"\x28\x07" + element(0x32, refusal))
        self.assertEqual((len(batch.events), batch.missed, batch.flushed), (1, 300, 7))
        self.assertIsInstance(batch.refused, NotFound)
        self.assertEqual((batch.refused.code, batch.refused.hint), ("not_found", "next"))

    def test_events_may_follow_other_fields(self):
        batch = decoded(b"\x12\x02\x08\x01" + element(0x0A, event_bytes()))
        self.assertEqual((batch.missed, batch.events[0].topic), (1, "a.b"))

    def test_frames_may_come_in_any_pieces(self):
        stream = b"".join(_wire.frame(element(0x0A, event_bytes(seq=n))) for n in range(1, 50))
        for size in (1, 3, 7, 100, len(stream)):
            frames, seen = _wire.Frames(None), []
            for start in range(0, len(stream), size):
                for batch in frames.feed(stream[start : start + size]):
                    seen += [event.seq for event in batch.events]
            self.assertEqual(seen, list(range(1, 50)))

    def test_values_are_of_their_content_type(self):
        for content_type, raw, value in (
            (b"", b"[1]", [1]),
            (b"", b"no json", b"no json"),
            (b"application/json; charset=utf-8", b"1", 1),
            (b"text/plain", "ü".encode(), "ü"),
            (b"text/plain", b"\xff", b"\xff"),
            (b"application/octet-stream", b"\x00", b"\x00"),
        ):
            event = decoded(
                element(0x0A, element(0x0A, b"t") + element(0x12, raw) + element(0x1A, content_type))
            ).events[0]
            self.assertEqual((event.raw, event.data), (raw, value))

    def test_garbage_is_a_value_error_and_nothing_else(self):
        chance = random.Random(7)
        good = element(0x0A, event_bytes()) * 3 + b"\x12\x02\x08\x05"
        refused = 0
        for _ in range(20_000):
            damaged = bytearray(good[: chance.randrange(len(good) + 1)])
            for _ in range(chance.randrange(4)):
                if damaged:
                    damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            try:
                _wire.Frames(None).feed(_wire.frame(bytes(damaged)))
            except ValueError:
                refused += 1
        self.assertGreater(refused, 1000)
        with self.assertRaises(ValueError):
            _wire.Frames(None).feed(b"\xff\xff\xff\xff")


if __name__ == "__main__":
    unittest.main()
