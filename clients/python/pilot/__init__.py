"""Driver for Pilot: the events, streams, inbox and tasks of this machine's node.

    import pilot
    agent = pilot.connect()
    events = agent.events()
    events.publish("metrics.cpu", {"host": agent.hostname, "percent": 73.2})

The standard library is all that it needs. `pilot.aio` is the same for asyncio.
"""

from .client import Pilot, connect
from .errors import (
    InvalidRequest,
    NotFound,
    NotRunning,
    PermissionDenied,
    PilotError,
    Timeout,
    TooLarge,
    Unreachable,
)
from .event import Event
from .events import Events
from .follow import Follow
from .records import Caller, Message, Outgoing, Received, Sent, Task
from .streams import Listener
from .subscription import Subscription

__version__ = "0.1.0"

__all__ = [
    "Caller",
    "Event",
    "Events",
    "Follow",
    "InvalidRequest",
    "Listener",
    "Message",
    "NotFound",
    "NotRunning",
    "Outgoing",
    "PermissionDenied",
    "Pilot",
    "PilotError",
    "Received",
    "Sent",
    "Subscription",
    "Task",
    "Timeout",
    "TooLarge",
    "Unreachable",
    "connect",
]
