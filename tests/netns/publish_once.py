"""Publishes JSON to the letter: publish_once.py TOPIC JSON."""
import sys

import pilot

events = pilot.connect().events()
events.publish(sys.argv[1], sys.argv[2].encode(), content_type="application/json")
events.flush()
