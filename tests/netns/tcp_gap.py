"""Echoes one byte ten times a second over TCP. As a client it writes the longest pause so far, in seconds, to a file."""

import socket
import sys
import time


def serve(address):
    with socket.create_server((address, 7000), family=socket.AF_INET6) as listener:
        connection, _ = listener.accept()
        while data := connection.recv(64):
            connection.sendall(data)


def call(address, path):
    connection = socket.create_connection((address, 7000))
    connection.settimeout(60)
    last, longest = time.monotonic(), 0.0
    while True:
        connection.sendall(b"x")
        if not connection.recv(64):
            sys.exit("the connection ended")
        now = time.monotonic()
        longest, last = max(longest, now - last), now
        with open(path, "w") as file:
            file.write(f"{longest:.3f} {time.time():.3f}")
        time.sleep(0.1)


if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    call(sys.argv[2], sys.argv[3])
