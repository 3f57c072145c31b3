"""What goes wrong, as exceptions: a stable code, what is wrong, and what to do next."""

from __future__ import annotations

from typing import Any, Dict, Type


class PilotError(Exception):
    """A refusal, or a failure to ask. `code` is one of the codes of docs/cli.md."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> Any:
        return type(self), (self.code, self.message, self.hint)


class InvalidRequest(PilotError, ValueError):
    """The request is not understood, or a value is outside its limits."""


class PermissionDenied(PilotError):
    """The caller may not do this."""


class NotFound(PilotError, LookupError):
    """No such node, message, task or stream; for nodes also: several, or this one."""


class TooLarge(InvalidRequest):
    """More bytes than a documented limit allows."""


class Timeout(PilotError, TimeoutError):
    """It did not happen in time."""


class Unreachable(PilotError, ConnectionError):
    """The other side cannot be reached now, or nobody listens there."""


class NotRunning(PilotError, ConnectionError):
    """Nobody answers at the local socket, or the daemon broke off."""


_CLASSES: Dict[str, Type[PilotError]] = {
    "invalid_request": InvalidRequest,
    "bad_argument": InvalidRequest,
    "invalid_token": InvalidRequest,
    "token_expired": InvalidRequest,
    "invalid_topic": InvalidRequest,
    "invalid_json": InvalidRequest,
    "permission_denied": PermissionDenied,
    "not_found": NotFound,
    "ambiguous": NotFound,
    "this_node": NotFound,
    "too_large": TooLarge,
    "timeout": Timeout,
    "unreachable": Unreachable,
    "rendezvous_unreachable": Unreachable,
    "no_listener": Unreachable,
    "daemon_not_running": NotRunning,
}


def error(code: str, message: str, hint: str = "") -> PilotError:
    """The exception of a code; of one from the future a plain `PilotError`."""
    return _CLASSES.get(code, PilotError)(code, message, hint)


def broken(path: str, what: object) -> NotRunning:
    """The daemon went away in the middle of a conversation."""
    return NotRunning("daemon_not_running", f"pilotd at {path} broke off: {what}", "look at its log")
