#!/usr/bin/env python3
"""Third stage: sums each analysis up in words, and publishes it as `pipeline.stage3.complete`."""

import argparse
import itertools
import signal
import sys

import pilot


def summary(figures):
    """The figures of a job in words."""
    text = f"{figures['readings']} readings, {figures['mean']} on average, {figures['highest']} at most"
    return {"verdict": figures["verdict"], "text": text}


def run(arguments):
    events = pilot.connect().events()
    with events.subscribe("pipeline.stage2.complete") as jobs:
        print("subscribed to pipeline.stage2.complete", file=sys.stderr)
        for event in itertools.islice(jobs, arguments.count or None):
            job = {"stage": "summary", "job_id": event.data["job_id"], "payload": summary(event.data["payload"])}
            events.publish("pipeline.stage3.complete", job)
            events.flush()
            print(f"{job['job_id']} summed up", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after so many jobs (never)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(arguments)
    except KeyboardInterrupt:
        pass
    except pilot.PilotError as problem:
        sys.exit(f"error: {problem.message}\nhint: {problem.hint}")


if __name__ == "__main__":
    main()
