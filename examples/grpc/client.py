#!/usr/bin/env python3
"""Speaks to the services of a node with nothing but grpcio: `pip install -r requirements.txt`.

ADDR is `[fd50:…]:1002` (events), `[fd50:…]:1001` (inbox), or `unix:/run/pilot/pilotd.sock` (everything). The stubs are
made at run time from `proto/`.
"""

import argparse
import itertools
import signal
import sys
import time
import uuid
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "proto"))
events_pb, events = grpc.protos_and_services("pilot/v1/events.proto")
inbox_pb, inbox = grpc.protos_and_services("pilot/v1/inbox.proto")

# For a socket grpcio would say its path as the name of the host, which is none.
OPTIONS = (("grpc.default_authority", "pilotd"),)


def event(arguments):
    """The event of a command line."""
    return events_pb.Event(topic=arguments.topic, data=arguments.data.encode(), content_type=arguments.content_type)


def publish(channel, arguments):
    request = events_pb.PublishRequest(event=event(arguments), node=arguments.node)
    print(f"seq {events.EventsStub(channel).Publish(request, timeout=30).seq}")


def subscribe(channel, arguments):
    request = events_pb.SubscribeRequest(patterns=[arguments.pattern], node=arguments.node)
    call = events.EventsStub(channel).Subscribe(request)
    call.initial_metadata()
    print(f"subscribed to {arguments.pattern}", file=sys.stderr, flush=True)
    each = (event for batch in call for event in batch.events)
    for seen in itertools.islice(each, arguments.count or None):
        sys.stdout.buffer.write(seen.data + b"\n")
        sys.stdout.buffer.flush()
    call.cancel()


def request(channel, arguments):
    question = events_pb.EventRequest(
        event=event(arguments), node=arguments.node, timeout_millis=int(arguments.timeout * 1000)
    )
    answer = events.EventsStub(channel).Request(question, timeout=arguments.timeout + 10)
    sys.stdout.buffer.write(answer.data + b"\n")


def deliver(channel, arguments):
    message = inbox_pb.Message(
        id=arguments.id or uuid.uuid4().hex,
        type=arguments.type,
        data=arguments.data.encode(),
        sent_unix_millis=int(time.time() * 1000),
    )
    receipt = inbox.InboxStub(channel).Deliver(message, timeout=30)
    if receipt.HasField("refused"):
        sys.exit(f"{receipt.refused.code}: {receipt.refused.message}")
    print(f"{receipt.id} {'duplicate' if receipt.duplicate else 'delivered'}")


def health(channel, arguments):
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    request = health_pb2.HealthCheckRequest(service=arguments.service)
    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=30)
    print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def reflect(channel, arguments):
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    for name in sorted(ProtoReflectionDescriptorDatabase(channel).get_services()):
        print(name)


def parser():
    arguments = argparse.ArgumentParser(description=__doc__)
    verbs = arguments.add_subparsers(required=True, metavar="VERB")

    def verb(function, help):
        one = verbs.add_parser(function.__name__, help=help)
        one.set_defaults(function=function)
        one.add_argument("address", metavar="ADDR")
        return one

    for function, help in ((publish, "publishes an event"), (request, "asks, and prints the data of the first reply")):
        one = verb(function, help)
        one.add_argument("topic")
        one.add_argument("data", metavar="JSON")
        one.add_argument("--content-type", default="")
        one.add_argument("--node", default="", help="local socket: this node alone")
        one.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="of a request (5)")
    one = verb(subscribe, "prints the data of each event that matches, a line each")
    one.add_argument("pattern")
    one.add_argument("--count", type=int, default=0, metavar="N", help="end after so many (never)")
    one.add_argument("--node", default="", help="local socket: this node alone")
    one = verb(deliver, "delivers a message")
    one.add_argument("type", choices=["text", "json", "binary", "task"])
    one.add_argument("data")
    one.add_argument("--id", help="makes a retry harmless")
    one = verb(health, "prints the state of a service")
    one.add_argument("service", nargs="?", default="")
    verb(reflect, "lists the services by reflection")
    return arguments


def main():
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with grpc.insecure_channel(arguments.address, options=OPTIONS) as channel:
            arguments.function(channel, arguments)
    except KeyboardInterrupt:
        pass
    except grpc.RpcError as problem:
        sys.exit(f"{problem.code().name}: {problem.details()}")


if __name__ == "__main__":
    main()
