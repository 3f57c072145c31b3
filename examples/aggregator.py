#!/usr/bin/env python3
"""Prints the metrics of every trusted node, and publishes `alerts.cpu` when a processor is too busy."""

import argparse
import signal
import sys
import time

import pilot


def line(event):
    """What is printed for an event; None for one that is no metric of ours."""
    try:
        if event.topic == "metrics.cpu":
            return f"[CPU] {event.data['host']}: {event.data['percent']:.1f}%"
        if event.topic == "metrics.memory":
            return f"[MEM] {event.data['host']}: {event.data['alloc_mb']:.0f} MB"
    except (KeyError, TypeError, ValueError):
        print(f"not understood: {event}", file=sys.stderr)
    return None


def alert(event):
    """What is published about a busy processor."""
    host, percent = event.data["host"], event.data["percent"]
    message = f"CPU of {host} at {percent:.1f}%"
    return {"level": "critical", "message": message, "source": host, "ts": time.time()}


def aggregate(threshold, count):
    agent = pilot.connect()
    events = agent.events()
    seen = 0
    with events.subscribe("metrics.*") as metrics:
        print("subscribed to metrics.*", file=sys.stderr)
        for event in metrics:
            text = line(event)
            if text is None:
                continue
            print(text, flush=True)
            if event.topic == "metrics.cpu" and event.data["percent"] > threshold:
                events.publish("alerts.cpu", alert(event))
                events.flush()
            seen += 1
            if seen == count:
                return


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threshold", type=float, default=90.0, metavar="PERCENT", help="alert above this (90)")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after so many lines (never)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        aggregate(arguments.threshold, arguments.count)
    except KeyboardInterrupt:
        pass
    except pilot.PilotError as problem:
        sys.exit(f"error: {problem.message}\nhint: {problem.hint}")


if __name__ == "__main__":
    main()
