"""COUNT subscribers by JSON lines on one node, from one process: each must hear EVENTS events in order."""
import json
import selectors
import socket
import sys

address, port, count, events = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
selector = selectors.DefaultSelector()
for number in range(count):
    connection = socket.create_connection((address, port), 20)
    connection.sendall(b'{"subscribe":"crowd.*"}\n{"flush":1}\n')
    connection.setblocking(False)
    selector.register(connection, selectors.EVENT_READ, {"rest": b"", "heard": [], "is_ready": False})
ready = finished = 0
while finished < count:
    for key, _ in selector.select(20):
        state = key.data
        chunk = key.fileobj.recv(65536)
        if not chunk:
            sys.exit("a subscriber was closed")
        *lines, state["rest"] = (state["rest"] + chunk).split(b"\n")
        for line in lines:
            value = json.loads(line)
            if "flushed" in value:
                ready += 1
                if ready == count:
                    print("ready", flush=True)
            elif "data" in value:
                state["heard"].append(value["data"])
            else:
                sys.exit(f"unexpected: {value}")
        if len(state["heard"]) == events and state["heard"] == list(range(events)):
            finished += 1
            selector.unregister(key.fileobj)
print(f"{count} subscribers, {count * events} events, in order")
