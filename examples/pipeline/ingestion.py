#!/usr/bin/env python3
"""First stage: takes readings in, and publishes each job as `pipeline.stage1.complete`."""

import argparse
import itertools
import random
import signal
import sys
import time
import uuid

import pilot


def readings(values):
    """The values of the command line, or some of a sensor that now and then goes wild."""
    if values:
        return values
    wild = [random.uniform(91, 120)] if random.random() < 0.3 else []
    return [round(value, 1) for value in [random.gauss(50, 10) for _ in range(20)] + wild]


def run(arguments):
    events = pilot.connect().events()
    for number in range(arguments.count) if arguments.count else itertools.count():
        if number:
            time.sleep(arguments.interval)
        job = {"stage": "ingestion", "job_id": uuid.uuid4().hex, "payload": {"readings": readings(arguments.values)}}
        events.publish("pipeline.stage1.complete", job)
        events.flush()
        print(f"{job['job_id']} ingested", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("values", nargs="*", type=float, help="the readings (random ones)")
    parser.add_argument("--interval", type=float, default=5.0, metavar="SECONDS", help="between two jobs (5)")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="end after so many jobs (1); 0: never")
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
