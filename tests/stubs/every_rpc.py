"""Makes every call of the publish API with the stubs that grpcio-tools generates; prints what came of each as JSON."""

import json
import sys

import grpc
from roomcast.v1 import publish_pb2 as pb
from roomcast.v1 import publish_pb2_grpc

TIMEOUT_S = 20
publisher = publish_pb2_grpc.PublisherStub(grpc.insecure_channel(sys.argv[1]))
guests = pb.Targets(rooms=["guests"])
vip = pb.Targets(rooms=["vip"])


def news(number):
    return pb.Message(rooms=["guests"], event="news", arguments=json.dumps([number]))


def count(targets):
    return publisher.CountSockets(pb.CountSocketsRequest(targets=targets), timeout=TIMEOUT_S).sockets


came = {}
came["Publish"] = len(publisher.Publish(pb.PublishRequest(message=news(0)), timeout=TIMEOUT_S).message_id)
batch = pb.PublishBatchRequest(messages=[news(1), news(2)])
came["PublishBatch"] = len(publisher.PublishBatch(batch, timeout=TIMEOUT_S).published)
requests = (pb.PublishStreamRequest(sequence=number, message=news(number)) for number in (3, 4, 5))
came["PublishStream"] = [answer.sequence for answer in publisher.PublishStream(requests, timeout=TIMEOUT_S)]
question = pb.Message(rooms=["guests"], event="question", arguments='["?"]')
parts = list(publisher.Call(pb.CallRequest(message=question), timeout=TIMEOUT_S))
answers = sorted(json.loads(part.answer.arguments)[0] for part in parts if part.HasField("answer"))
came["Call"] = {"answers": answers, "end": pb.CallEnd.Name(parts[-1].summary.end)}
publisher.JoinRooms(pb.JoinRoomsRequest(targets=guests, rooms=["vip"]), timeout=TIMEOUT_S)
came["JoinRooms"] = count(vip)
pages = publisher.FetchSockets(pb.FetchSocketsRequest(targets=vip, page_size=1), timeout=TIMEOUT_S)
came["FetchSockets"] = [len(page.sockets) for page in pages]
rooms = publisher.ListRooms(pb.ListRoomsRequest(prefix="vip"), timeout=TIMEOUT_S).rooms
came["ListRooms"] = [room.name for room in rooms]
publisher.LeaveRooms(pb.LeaveRoomsRequest(targets=guests, rooms=["vip"]), timeout=TIMEOUT_S)
came["LeaveRooms"] = count(vip)
emit = pb.ServerSideEmitRequest(event="question", arguments='["?"]', answers=True)
came["ServerSideEmit"] = len(publisher.ServerSideEmit(emit, timeout=TIMEOUT_S).answers)
try:
    publisher.Publish(pb.PublishRequest(message=pb.Message(event="")), timeout=TIMEOUT_S)
except grpc.RpcError as error:
    came["refused"] = {"code": error.code().value[0], "names": error.details().split(" ")[0].rstrip(":")}
publisher.DisconnectSockets(pb.DisconnectSocketsRequest(targets=guests), timeout=TIMEOUT_S)
came["DisconnectSockets"] = count(guests)
print(json.dumps(came))
