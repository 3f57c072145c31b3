#!/usr/bin/env python3
"""Runs the programs of this folder against a node, and checks what they say: `PILOT_SOCKET=… live.py [NAME…]`.

One line a check, `ok NAME` or `FAILED NAME: why`; exit status 1 if one failed. `pilotctl` must be in PATH.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
DRIVER = HERE.parent / "clients" / "python"
sys.path.insert(0, str(DRIVER))

import pilot  # noqa: E402

PATIENCE = 30


class Program:
    """One of the programs, running."""

    def __init__(self, name, *arguments):
        environment = {**os.environ, "PYTHONPATH": str(DRIVER)}
        command = [sys.executable, str(HERE / name), *arguments]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def subscribed(self):
        """Returns when it says that it has subscribed."""
        line = self.process.stderr.readline()
        if not line.startswith("subscribed to "):
            raise AssertionError(line)
        return self

    def finished(self):
        """What it has printed, once it has ended well."""
        out, err = self.process.communicate(timeout=PATIENCE)
        equal((self.process.returncode, err), (0, ""))
        return out

    def interrupted(self, number):
        """It ends well by a signal."""
        self.process.send_signal(number)
        self.finished()


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"{found!r} instead of {expected!r}")


def matches(pattern, text):
    if not re.fullmatch(pattern, text):
        raise AssertionError(f"{text!r} does not match {pattern!r}")


def publishers(agent):
    fields = {"metrics.cpu": ["topic", "host", "percent", "ts"]}
    fields["metrics.memory"] = ["topic", "host", "alloc_mb", "total_mb", "ts"]
    for name, topic in (("cpu_publisher.py", "metrics.cpu"), ("memory_publisher.py", "metrics.memory")):
        with agent.subscribe(topic) as subscription, Program(name, "--interval", "0.1", "--count", "2") as program:
            for _ in range(2):
                event = subscription.get(PATIENCE)
                equal(list(event.data), fields[topic])
                equal((event.data["topic"], event.data["host"]), (topic, agent.hostname))
            program.finished()


def aggregator(agent):
    with agent.subscribe("alerts.*") as alerts, Program("aggregator.py", "--count", "4") as program:
        program.subscribed()
        agent.publish("metrics.cpu", {"topic": "metrics.cpu", "host": "a", "percent": 73.2, "ts": 1})
        agent.publish(
            "metrics.memory", {"topic": "metrics.memory", "host": "b", "alloc_mb": 256, "total_mb": 1024, "ts": 1}
        )
        agent.publish("metrics.other", {"host": "b"})
        agent.publish("metrics.cpu", {"topic": "metrics.cpu", "host": "c", "percent": 97, "ts": 1})
        agent.publish("metrics.cpu", {"topic": "metrics.cpu", "host": "d", "percent": 90, "ts": 1})
        equal(program.finished(), "[CPU] a: 73.2%\n[MEM] b: 256 MB\n[CPU] c: 97.0%\n[CPU] d: 90.0%\n")
        alert = alerts.get(PATIENCE)
        equal((alert.topic, list(alert.data)), ("alerts.cpu", ["level", "message", "source", "ts"]))
        equal((alert.data["level"], alert.data["source"]), ("critical", "c"))


def publishers_and_aggregator(agent):
    with Program("aggregator.py", "--count", "2") as program:
        program.subscribed()
        for name in ("cpu_publisher.py", "memory_publisher.py"):
            with Program(name, "--interval", "0.1", "--count", "1") as publisher:
                publisher.finished()
        host = re.escape(agent.hostname)
        matches(rf"\[CPU\] {host}: [0-9.]+%\n\[MEM\] {host}: [0-9]+ MB\n", program.finished())


def pipeline(agent):
    with (
        agent.subscribe("pipeline.stage2.result.*") as results,
        Program("pipeline/output.py", "--count", "2") as output,
        Program("pipeline/summary.py", "--count", "2") as summary,
        Program("pipeline/analysis.py", "--count", "2") as analysis,
    ):
        for stage in (output, summary, analysis):
            stage.subscribed()
        for values in (["1", "2"], ["1", "99"]):
            with Program("pipeline/ingestion.py", *values) as ingestion:
                ingestion.finished()
        seen = [results.get(PATIENCE) for _ in range(2)]
        equal([event.topic.rsplit(".")[-1] for event in seen], ["normal", "anomaly"])
        equal(list(seen[0].data), ["stage", "job_id", "payload"])
        report = output.finished().splitlines()
        equal([line.split()[0] for line in report], [event.data["job_id"] for event in seen])
        equal([line.split()[1] for line in report], ["NORMAL:", "ANOMALY:"])
        summary.finished()
        analysis.finished()


def log_streamer(agent):
    received = []

    def orchestrate(listener):
        for stream, caller in listener:
            with stream:
                received.extend([stream.makefile("rb").read(), caller.node_id])
            return

    with agent.listen(1000) as listener:
        orchestrator = threading.Thread(target=orchestrate, args=(listener,), daemon=True)
        orchestrator.start()
        with Program("log_streamer.py", "--node", agent.node_id) as program:
            program.finished()
        orchestrator.join(PATIENCE)
    equal(list(json.loads(received[0])), ["source_ip", "anomaly", "severity"])
    equal(received[1], agent.node_id)


def signals_end_them(agent):
    for number in (signal.SIGINT, signal.SIGTERM):
        for name in ("aggregator.py", "pipeline/analysis.py", "pipeline/summary.py", "pipeline/output.py"):
            with Program(name) as program:
                program.subscribed().interrupted(number)
        for name, topic in (("cpu_publisher.py", "metrics.cpu"), ("memory_publisher.py", "metrics.memory")):
            with agent.subscribe(topic) as subscription, Program(name, "--interval", "0.1") as program:
                subscription.get(PATIENCE)
                program.interrupted(number)


def errors_have_hints(_):
    environment = {**os.environ, "PYTHONPATH": str(DRIVER), "PILOT_SOCKET": "/nowhere/pilotd.sock"}
    for name in ("cpu_publisher.py", "memory_publisher.py", "aggregator.py", "pipeline/ingestion.py"):
        ended = subprocess.run([sys.executable, str(HERE / name)], env=environment, capture_output=True, text=True)
        equal(ended.returncode, 1)
        matches(r"error: no pilotd answers at .*\nhint: start it with .*\n", ended.stderr)


CHECKS = (
    publishers,
    aggregator,
    publishers_and_aggregator,
    pipeline,
    log_streamer,
    signals_end_them,
    errors_have_hints,
)


def main():
    agent = pilot.connect()
    failed = 0
    for check in CHECKS:
        if sys.argv[1:] and check.__name__ not in sys.argv[1:]:
            continue
        try:
            check(agent)
            print(f"ok {check.__name__}", flush=True)
        except Exception as problem:  # Whatever it is, the other checks still run.
            failed += 1
            print(f"FAILED {check.__name__}: {type(problem).__name__}: {problem}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
