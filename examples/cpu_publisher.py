#!/usr/bin/env python3
"""Publishes how busy this machine's processors are, as `metrics.cpu`, every few seconds."""

import argparse
import itertools
import signal
import sys
import time

import pilot


def times():
    """Jiffies since boot: idle, and all together."""
    with open("/proc/stat") as stat:
        fields = [int(field) for field in stat.readline().split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def percent(before, after):
    """How busy it was between two readings."""
    total = after[1] - before[1]
    return round(100.0 * (1 - (after[0] - before[0]) / total), 1) if total else 0.0


def publish(interval, count):
    agent = pilot.connect()
    events = agent.events()
    before = times()
    for _ in range(count) if count else itertools.count():
        time.sleep(interval)
        after = times()
        cpu = {"topic": "metrics.cpu", "host": agent.hostname, "percent": percent(before, after), "ts": time.time()}
        events.publish("metrics.cpu", cpu)
        events.flush()
        before = after


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interval", type=float, default=5.0, metavar="SECONDS", help="between two events (5)")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after so many events (never)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        publish(arguments.interval, arguments.count)
    except KeyboardInterrupt:
        pass
    except pilot.PilotError as problem:
        sys.exit(f"error: {problem.message}\nhint: {problem.hint}")


if __name__ == "__main__":
    main()
