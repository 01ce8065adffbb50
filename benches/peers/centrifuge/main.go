// A server made of the Centrifuge library, which Centrifugo is made of, serving what the load generator asks of a
// gateway: centrifuge-peer PORT PING_INTERVAL_MS [REDIS_ADDRESS].
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("centrifuge-peer PORT PING_INTERVAL_MS [REDIS_ADDRESS]")
	}
	pings, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelError})
	if err != nil {
		log.Fatal(err)
	}
	if len(os.Args) > 3 {
		if err := useRedis(node, os.Args[3]); err != nil {
			log.Fatal(err)
		}
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{}, nil)
		})
		client.OnPublish(func(_ centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
			answer(centrifuge.PublishReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	// As Centrifugo sets it up: no compression, write buffers shared by all connections.
	websocket := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		ReadBufferSize:     512,
		UseWriteBufferPool: true,
		CheckOrigin:        func(*http.Request) bool { return true },
		PingPongConfig: centrifuge.PingPongConfig{
			PingInterval: time.Duration(pings) * time.Millisecond,
			PongTimeout:  pongTimeout(time.Duration(pings) * time.Millisecond),
		},
	})
	http.Handle("/connection/websocket", websocket)
	go func() { log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil)) }()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
}

// It has to be shorter than the pause between pings.
func pongTimeout(pings time.Duration) time.Duration {
	return min(pings/2, 10*time.Second)
}

func useRedis(node *centrifuge.Node, address string) error {
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: address})
	if err != nil {
		return err
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{
		Shards: []*centrifuge.RedisShard{shard},
	})
	if err != nil {
		return err
	}
	node.SetBroker(broker)
	return nil
}
