"""Prints the data of events as it came: subscribe_raw.py PATTERN."""
import sys

import pilot

for event in pilot.connect().events().subscribe(sys.argv[1]):
    sys.stdout.buffer.write(event.raw + b"\n")
    sys.stdout.buffer.flush()
