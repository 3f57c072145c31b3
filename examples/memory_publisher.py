#!/usr/bin/env python3
"""Publishes how much of this machine's memory is in use, as `metrics.memory`, every few seconds."""

import argparse
import itertools
import signal
import sys
import time

import pilot


def memory():
    """Megabytes in use, and all together."""
    with open("/proc/meminfo") as meminfo:
        kilobytes = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in meminfo)}
    return (kilobytes["MemTotal"] - kilobytes["MemAvailable"]) // 1024, kilobytes["MemTotal"] // 1024


def publish(interval, count):
    agent = pilot.connect()
    events = agent.events()
    for _ in range(count) if count else itertools.count():
        time.sleep(interval)
        used, total = memory()
        fields = {"host": agent.hostname, "alloc_mb": used, "total_mb": total, "ts": time.time()}
        events.publish("metrics.memory", {"topic": "metrics.memory", **fields})
        events.flush()


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
