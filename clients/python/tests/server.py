"""A socket that answers what a test tells it to: for byte-level answers and for failures, never for behaviour."""

import os
import shutil
import socket
import tempfile
import threading

INFO = b'{"status":"ok","data":{"node_id":"a1b2.c3d4.e5f6","ipv6":"fd50::1","hostname":"alpha"}}'
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"


def answer(body, status=200, content="application/json"):
    return b"HTTP/1.1 %d X\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (
        status,
        content.encode(),
        len(body),
        body,
    )


class Server:
    """Runs `serve(connection, head)` for each connection, each in a thread."""

    def __init__(self, serve):
        self.folder = tempfile.mkdtemp()
        self.path = os.path.join(self.folder, "pilotd.sock")
        self._serve = serve
        self._open = []
        self.start()

    def start(self):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._thread.start()

    def stop(self):
        """Ends every connection and the socket, as a daemon that goes away does."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._open = []
        os.unlink(self.path)

    def close(self):
        self.stop()
        shutil.rmtree(self.folder)

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        with connection:
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = connection.recv(1)
                    if not piece:
                        return
                    head += piece
                if head.startswith(b"GET /v1/info "):
                    connection.sendall(answer(INFO))
                else:
                    self._serve(connection, head)
            except OSError:
                pass


def read_frames(connection):
    """The messages that come, until the other side ends."""
    stream = connection.makefile("rb")
    while True:
        size = stream.read(4)
        if len(size) < 4:
            return
        yield stream.read(int.from_bytes(size, "big"))
