"""Driver for Pilot, for asyncio: the calls of `pilot`, awaited.

agent = await pilot.aio.connect()
async for event in await agent.events().subscribe("metrics.*"):
    print(event.topic, event.data)
"""

from .client import Pilot, connect
from .events import Events
from .follow import Follow, Listener
from .subscription import Subscription

__all__ = ["Events", "Follow", "Listener", "Pilot", "Subscription", "connect"]
