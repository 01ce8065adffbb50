// Makes every call of the publish API with the stubs that protoc-gen-go-grpc generates; prints what came of each as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"strings"
	"time"

	pb "example.com/news/roomcast"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// all takes what a stream brings until it ends.
func all[T any](receive func() (T, error)) []T {
	var parts []T
	for {
		part, err := receive()
		if err == io.EOF {
			return parts
		}
		parts = append(parts, must(part, err))
	}
}

func news(number int) *pb.Message {
	return &pb.Message{Rooms: []string{"guests"}, Event: "news", Arguments: fmt.Sprintf("[%d]", number)}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	credentials := grpc.WithTransportCredentials(insecure.NewCredentials())
	publisher := pb.NewPublisherClient(must(grpc.NewClient(os.Args[1], credentials)))
	guests, vip := &pb.Targets{Rooms: []string{"guests"}}, &pb.Targets{Rooms: []string{"vip"}}
	count := func(targets *pb.Targets) uint64 {
		return must(publisher.CountSockets(ctx, &pb.CountSocketsRequest{Targets: targets})).Sockets
	}

	came := map[string]any{}
	came["Publish"] = len(must(publisher.Publish(ctx, &pb.PublishRequest{Message: news(0)})).MessageId)
	batch := &pb.PublishBatchRequest{Messages: []*pb.Message{news(1), news(2)}}
	came["PublishBatch"] = len(must(publisher.PublishBatch(ctx, batch)).Published)
	stream := must(publisher.PublishStream(ctx))
	for number := 3; number < 6; number++ {
		request := &pb.PublishStreamRequest{Sequence: uint64(number), Message: news(number)}
		must(0, stream.Send(request))
	}
	must(0, stream.CloseSend())
	sequences := []uint64{}
	for _, answer := range all(stream.Recv) {
		sequences = append(sequences, answer.Sequence)
	}
	came["PublishStream"] = sequences
	question := &pb.Message{Rooms: []string{"guests"}, Event: "question", Arguments: `["?"]`}
	answers, end := []string{}, ""
	for _, part := range all(must(publisher.Call(ctx, &pb.CallRequest{Message: question})).Recv) {
		if answer := part.GetAnswer(); answer != nil {
			var arguments []string
			must(0, json.Unmarshal([]byte(answer.Arguments), &arguments))
			answers = append(answers, arguments[0])
		} else {
			end = part.GetSummary().End.String()
		}
	}
	sort.Strings(answers)
	came["Call"] = map[string]any{"answers": answers, "end": end}
	must(publisher.JoinRooms(ctx, &pb.JoinRoomsRequest{Targets: guests, Rooms: []string{"vip"}}))
	came["JoinRooms"] = count(vip)
	sizes := []int{}
	for _, page := range all(must(publisher.FetchSockets(ctx, &pb.FetchSocketsRequest{Targets: vip, PageSize: 1})).Recv) {
		sizes = append(sizes, len(page.Sockets))
	}
	came["FetchSockets"] = sizes
	names := []string{}
	for _, room := range must(publisher.ListRooms(ctx, &pb.ListRoomsRequest{Prefix: "vip"})).Rooms {
		names = append(names, room.Name)
	}
	came["ListRooms"] = names
	must(publisher.LeaveRooms(ctx, &pb.LeaveRoomsRequest{Targets: guests, Rooms: []string{"vip"}}))
	came["LeaveRooms"] = count(vip)
	emit := &pb.ServerSideEmitRequest{Event: "question", Arguments: `["?"]`, Answers: true}
	came["ServerSideEmit"] = len(must(publisher.ServerSideEmit(ctx, emit)).Answers)
	_, err := publisher.Publish(ctx, &pb.PublishRequest{Message: &pb.Message{}})
	names = strings.Fields(status.Convert(err).Message())
	came["refused"] = map[string]any{"code": status.Code(err), "names": strings.TrimSuffix(names[0], ":")}
	must(publisher.DisconnectSockets(ctx, &pb.DisconnectSocketsRequest{Targets: guests}))
	came["DisconnectSockets"] = count(guests)
	fmt.Println(string(must(json.Marshal(came))))
}
