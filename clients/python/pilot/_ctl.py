"""What only `pilotctl` does: files, whose BLAKE3 sum the standard library does not have."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Union

from ._http import result
from .errors import NotFound, PilotError

Path = Union[str, "os.PathLike[str]"]


def send_file(socket: str, node: str, path: Path) -> List[str]:
    """The command line that sends a file."""
    return ["pilotctl", "--socket", socket, "--json", "send-file", node, os.fspath(path)]


def outcome(output: bytes, errors: bytes) -> Dict[str, Any]:
    """What the command said, or the error that it raises."""
    lines = output.strip().splitlines()
    try:
        json.loads(lines[-1])
    except (IndexError, ValueError):
        said = errors.decode(errors="replace").strip()
        raise PilotError("internal", f"pilotctl is not understood: {said[-500:]}") from None
    return dict(result(0, lines[-1]))


def missing() -> NotFound:
    """There is no such command."""
    return NotFound("not_found", "pilotctl is not in PATH", "it comes with pilotd")
