#!/usr/bin/env python3
"""Streams what was found in a log to the node that decides about threats, through `pilotctl` as a subprocess."""

import argparse
import json
import signal
import subprocess
import sys


def stream(node, payload):
    """Pipes the payload into a stream to port 1000 of the node; gives the exit status."""
    process = subprocess.Popen(["pilotctl", "connect", node, "1000"], stdin=subprocess.PIPE)
    try:
        process.communicate(input=json.dumps(payload).encode() + b"\n")
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        return 0
    return process.returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node", default="local-threat-orchestrator", help="who listens (local-threat-orchestrator)")
    parser.add_argument("--source-ip", default="198.51.100.23", metavar="IP", help="where it came from")
    parser.add_argument("--anomaly", default="ssh_brute_force", help="what was found")
    parser.add_argument("--severity", default="high", help="how bad it is (high)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    payload = {"source_ip": arguments.source_ip, "anomaly": arguments.anomaly, "severity": arguments.severity}
    try:
        sys.exit(stream(arguments.node, payload))
    except FileNotFoundError:
        sys.exit("error: pilotctl is not in PATH\nhint: `make up` builds it into target/release")


if __name__ == "__main__":
    main()
