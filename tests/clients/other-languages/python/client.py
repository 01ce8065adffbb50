"""python-socketio behind the lines of ../client.mjs: commands come on standard input, happenings go out on standard output."""

import base64
import json
import sys
import threading

import socketio

TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": None}

setup = json.loads(sys.argv[1])
client = socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.2)
writing = threading.Lock()


def tell(**happening):
    with writing:
        print(json.dumps(plain(happening)), flush=True)


def plain(value):
    """JSON has no bytes: they travel as {"$bytes": base64}."""
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def rich(value):
    if isinstance(value, list):
        return [rich(each) for each in value]
    if isinstance(value, dict):
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        return {key: rich(each) for key, each in value.items()}
    return value


def listen(namespace):
    client.on("connect", lambda: tell(what="connected", namespace=namespace), namespace=namespace)
    client.on("disconnect", lambda reason: tell(what="disconnected", namespace=namespace), namespace=namespace)
    client.on("connect_error", lambda data: tell(what="refused", namespace=namespace, data=data), namespace=namespace)
    client.on("*", lambda event, *args: tell(what="event", namespace=namespace, event=event, args=args), namespace=namespace)


def emit(namespace, event, args, ack=None):
    callback = None if ack is None else lambda *answer: tell(what="ack", ack=ack, args=answer)
    client.emit(event, tuple(rich(args)), namespace=namespace, callback=callback)


for each in setup["namespaces"]:
    listen(each)
try:
    client.connect(
        setup["url"],
        transports=TRANSPORTS[setup["transport"]],
        namespaces=setup["namespaces"],
        auth=setup.get("auth"),
        wait=False,
    )
except socketio.exceptions.ConnectionError as error:
    tell(what="failed", message=str(error))
for line in sys.stdin:
    emit(**json.loads(line))
client.disconnect()
