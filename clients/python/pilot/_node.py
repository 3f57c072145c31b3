"""What is asked of the node itself: the verbs of docs/cli.md."""

from __future__ import annotations

from typing import Any, Dict, List

from ._call import Call, Duration, millis, read, seconds


def info() -> Call[Dict[str, Any]]:
    """Who this node is."""
    return read("info", {}, dict)


def peers() -> Call[List[Dict[str, Any]]]:
    """The trusted nodes."""
    return read("peers", {}, lambda data: list(data["peers"]))


def pending() -> Call[List[Dict[str, Any]]]:
    """Who asks for our trust."""
    return read("pending", {}, lambda data: list(data["pending"]))


def find(node: str) -> Call[Dict[str, Any]]:
    """One trusted node."""
    return read("find", {"target": node}, dict)


def whois(address: str) -> Call[Dict[str, Any]]:
    """The node behind an overlay address."""
    return read("whois", {"address": address}, dict)


def wait(condition: str, timeout: Duration) -> Call[Dict[str, Any]]:
    """Answers as soon as a condition holds."""
    return read("wait", {"condition": condition, "timeout_ms": millis(timeout)}, dict, seconds(timeout))
