#!/usr/bin/env python3
"""Second stage: analyses each job of the first, publishes `pipeline.stage2.complete`, and what came of it as
`pipeline.stage2.result.normal` or `pipeline.stage2.result.anomaly`, for whoever cares for one of them or, with
`pipeline.stage2.result.*`, for both."""

import argparse
import itertools
import signal
import statistics
import sys

import pilot


def analyse(readings, limit):
    """The figures of a job."""
    mean, highest = statistics.fmean(readings), max(readings)
    verdict = "anomaly" if highest > limit else "normal"
    return {"readings": len(readings), "mean": round(mean, 2), "highest": highest, "verdict": verdict}


def run(arguments):
    events = pilot.connect().events()
    with events.subscribe("pipeline.stage1.complete") as jobs:
        print("subscribed to pipeline.stage1.complete", file=sys.stderr)
        for event in itertools.islice(jobs, arguments.count or None):
            figures = analyse(event.data["payload"]["readings"], arguments.limit)
            job = {"stage": "analysis", "job_id": event.data["job_id"], "payload": figures}
            events.publish("pipeline.stage2.complete", job)
            events.publish(f"pipeline.stage2.result.{figures['verdict']}", job)
            events.flush()
            print(f"{job['job_id']} {figures['verdict']}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=90.0, help="a reading above it is an anomaly (90)")
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
