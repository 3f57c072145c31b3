#!/usr/bin/env python3
"""How fast the driver is against a node that runs: `PILOT_SOCKET=… speed.py [EVENTS]`. The node talks to itself."""

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pilot  # noqa: E402
import pilot.aio  # noqa: E402

DATA = {"host": "agent-a", "percent": 73.2, "ts": 1764072000.125, "note": "x" * 60}


def rate(name, count, work):
    began = time.perf_counter()
    work()
    print(f"{name:44} {count / (time.perf_counter() - began):10,.0f} /s", flush=True)


def publishing(events, count):
    def each():
        for _ in range(count):
            events.publish("speed.out", DATA)
        events.flush(60)

    def many():
        events.publish_many(("speed.out", DATA) for _ in range(count))
        events.flush(60)

    rate("publish, one by one", count, each)
    rate("publish_many", count, many)


def subscribing(agent, count):
    for name, look in (
        ("subscribe, data not looked at", lambda event: event.raw),
        ("subscribe", lambda event: event.data),
    ):
        with agent.subscribe("speed.in", queue=1 << 20) as subscription:
            agent.events().publish_many(("speed.in", DATA) for _ in range(count))

            def read(look=look):
                for _ in range(count):
                    look(next(subscription))

            rate(name, count, read)
            print(f"{'':44} missed {subscription.missed}")


def round_trips(agent, count):
    with agent.subscribe("speed.trip") as subscription:
        times = []
        for _ in range(count):
            began = time.perf_counter()
            agent.publish("speed.trip", DATA)
            next(subscription)
            times.append(time.perf_counter() - began)
    times.sort()
    print(f"publish to event: p50 {times[count // 2] * 1e6:.0f} us, p99 {times[count * 99 // 100] * 1e6:.0f} us")


async def awaited(count):
    async with await pilot.aio.connect() as agent:
        subscription = await agent.subscribe("speed.aio", queue=1 << 20)
        began = time.perf_counter()
        for _ in range(count):
            await agent.publish("speed.aio", DATA)
        await agent.events().flush(60)
        print(f"{'asyncio publish':44} {count / (time.perf_counter() - began):10,.0f} /s")
        began = time.perf_counter()
        for _ in range(count):
            await subscription.__anext__()
        print(f"{'asyncio subscribe':44} {count / (time.perf_counter() - began):10,.0f} /s")
        await subscription.close()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    agent = pilot.connect()
    publishing(agent.events(), count)
    subscribing(agent, count)
    round_trips(agent, 2_000)
    rate("calls (info)", 2_000, lambda: [agent.info() for _ in range(2_000)])
    asyncio.run(awaited(count))


if __name__ == "__main__":
    main()
