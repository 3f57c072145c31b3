"""What a subscription asks for, and asks for once more when the daemon comes back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import List, Optional, Tuple, Union

from ._call import millis
from .errors import InvalidRequest


@dataclass
class Subscribe:
    """What a subscription wants; `after` is where it stands, to go on from there when the daemon comes back."""

    patterns: List[str]
    node: str = ""
    since: Union[int, str, timedelta, None] = None
    last: bool = False
    group: str = ""
    overflow: str = "drop-oldest"
    queue: int = 0
    after: Optional[int] = None

    def check(self) -> None:
        """Refuses what cannot be asked, before anybody is asked."""
        if not self.patterns:
            raise InvalidRequest("bad_argument", "a subscription needs a pattern", "`*` matches every topic")
        if self.overflow not in _OVERFLOW:
            raise InvalidRequest("bad_argument", f"overflow={self.overflow!r}", f"one of {', '.join(_OVERFLOW)}")

    def arguments(self) -> Tuple[List[str], str, Optional[int], Optional[int], bool, str, int, int]:
        """The arguments of `_wire.encode_subscribe`."""
        seq, ago = self._since()
        return self.patterns, self.node, seq, ago, self.last, self.group, _OVERFLOW.index(self.overflow), self.queue

    def _since(self) -> Tuple[Optional[int], Optional[int]]:
        if self.after is not None:
            return self.after, None
        if self.since is None or isinstance(self.since, int):
            return self.since, None
        return None, millis(self.since if isinstance(self.since, timedelta) else _duration(self.since))

    def saw(self, seq: int) -> None:
        """Remembers an event of the one publisher; with several, counts do not compare."""
        if seq and (isinstance(self.since, int) or (self.since is not None and self.node)):
            self.after = seq

    def resume(self) -> None:
        """What is asked for once more after a break: nothing twice."""
        self.last = False
        if self.after is None and not isinstance(self.since, int):
            self.since = None


_OVERFLOW = ["drop-oldest", "drop-newest", "disconnect"]
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)\Z")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _duration(text: str) -> float:
    match = _DURATION.match(text)
    if not match:
        raise InvalidRequest("bad_argument", f"{text!r} is no duration", "write 500ms, 30s, 5m, 1h or 7d")
    return int(match.group(1)) * _UNITS[match.group(2)]
