"""A stock gRPC server and client (grpcio) that know nothing of Pilot.

    grpc_echo.py serve ADDRESS     answers until it is ended
    grpc_echo.py call  ADDRESS     makes one call of each kind and says how it went
"""

import sys
from concurrent import futures

import grpc

COUNT = 1000


def same(x):
    return x


def serve(address):
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(lambda r, c: r, same, same),
        "ServerStream": grpc.unary_stream_rpc_method_handler(
            lambda r, c: (r for _ in range(COUNT)), same, same
        ),
        "ClientStream": grpc.stream_unary_rpc_method_handler(
            lambda rs, c: str(sum(1 for _ in rs)).encode(), same, same
        ),
        "Both": grpc.stream_stream_rpc_method_handler(lambda rs, c: rs, same, same),
    }
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Echo", handlers),)
    )
    if server.add_insecure_port(address) == 0:
        sys.exit(f"cannot listen on {address}")
    server.start()
    server.wait_for_termination()


def call(address):
    payload = bytes(range(256)) * 4
    payloads = [payload + str(i).encode() for i in range(COUNT)]
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=15)
        if channel.unary_unary("/test.Echo/Unary", same, same)(payload, timeout=10) == payload:
            print("unary ok")
        got = list(channel.unary_stream("/test.Echo/ServerStream", same, same)(payload, timeout=20))
        if all(g == payload for g in got):
            print("server stream ok", len(got))
        counted = channel.stream_unary("/test.Echo/ClientStream", same, same)(iter(payloads), timeout=20)
        print("client stream ok", counted.decode())
        got = list(channel.stream_stream("/test.Echo/Both", same, same)(iter(payloads), timeout=20))
        if got == payloads:
            print("bidirectional ok", len(got))


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](sys.argv[2])
