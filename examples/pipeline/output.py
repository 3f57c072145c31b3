#!/usr/bin/env python3
"""Last stage: writes a line of the report for each job that went through all the others."""

import argparse
import itertools
import signal
import sys

import pilot


def line(job):
    """A job in the report."""
    return f"{job['job_id']} {job['payload']['verdict'].upper()}: {job['payload']['text']}"


def run(arguments):
    with pilot.connect().events().subscribe("pipeline.stage3.complete") as jobs:
        print("subscribed to pipeline.stage3.complete", file=sys.stderr)
        for event in itertools.islice(jobs, arguments.count or None):
            print(line(event.data), file=arguments.report, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--report", type=argparse.FileType("a"), default=sys.stdout, metavar="FILE", help="where to (stdout)"
    )
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
