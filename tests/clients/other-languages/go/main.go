// The Socket.IO client of zishang520 behind the lines of ../client.mjs: commands come on standard input, happenings go
// out on standard output.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"sync"

	"github.com/zishang520/socket.io/clients/engine/v3/transports"
	"github.com/zishang520/socket.io/clients/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

type setup struct {
	URL        string         `json:"url"`
	Transport  string         `json:"transport"`
	Namespaces []string       `json:"namespaces"`
	Auth       map[string]any `json:"auth"`
}

type command struct {
	Namespace string `json:"namespace"`
	Event     string `json:"event"`
	Args      []any  `json:"args"`
	Ack       *int   `json:"ack"`
}

var writing sync.Mutex

func tell(happening map[string]any) {
	text, err := json.Marshal(plain(happening))
	must(err)
	writing.Lock()
	defer writing.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

// plain makes JSON of what holds bytes: they travel as {"$bytes": base64}.
func plain(value any) any {
	switch value := value.(type) {
	case []byte:
		return map[string]any{"$bytes": base64.StdEncoding.EncodeToString(value)}
	case types.BufferInterface:
		return plain(value.Bytes())
	case []any:
		all := make([]any, len(value))
		for at, each := range value {
			all[at] = plain(each)
		}
		return all
	case map[string]any:
		all := map[string]any{}
		for key, each := range value {
			all[key] = plain(each)
		}
		return all
	}
	return value
}

func rich(value any) any {
	switch value := value.(type) {
	case []any:
		all := make([]any, len(value))
		for at, each := range value {
			all[at] = rich(each)
		}
		return all
	case map[string]any:
		if text, ok := value["$bytes"].(string); ok {
			bytes, err := base64.StdEncoding.DecodeString(text)
			must(err)
			return bytes
		}
		all := map[string]any{}
		for key, each := range value {
			all[key] = rich(each)
		}
		return all
	}
	return value
}

func listen(namespace string, client *socket.Socket) {
	client.On("connect", func(...any) {
		tell(map[string]any{"what": "connected", "namespace": namespace, "id": client.Id()})
	})
	client.On("disconnect", func(...any) {
		tell(map[string]any{"what": "disconnected", "namespace": namespace})
	})
	client.On("connect_error", func(errs ...any) {
		happening := map[string]any{"what": "refused", "namespace": namespace}
		if refusal, ok := errs[0].(*types.ExtendedError); ok {
			happening["data"] = map[string]any{"message": refusal.Message, "data": refusal.Data}
		}
		tell(happening)
	})
	client.OnAny(func(event ...any) {
		tell(map[string]any{"what": "event", "namespace": namespace, "event": event[0], "args": event[1:]})
	})
}

func main() {
	var setup setup
	must(json.Unmarshal([]byte(os.Args[1]), &setup))
	options := socket.DefaultManagerOptions()
	switch setup.Transport {
	case "websocket":
		options.SetTransports(types.NewSet(transports.WebSocket))
	case "polling":
		options.SetTransports(types.NewSet(transports.Polling))
	case "upgrade":
		options.SetTransports(types.NewSet(transports.Polling, transports.WebSocket))
	}
	options.SetAutoConnect(false)
	options.SetReconnectionDelay(100)
	options.SetReconnectionDelayMax(200)
	manager := socket.NewManager(setup.URL, options)
	// A socket that connects while its manager does may miss that it has: one after the other.
	opened := make(chan error)
	manager.Open(func(err error) { opened <- err })
	must(<-opened)
	clients := map[string]*socket.Socket{}
	for _, namespace := range setup.Namespaces {
		own := socket.DefaultSocketOptions()
		own.SetAuth(setup.Auth)
		client := manager.Socket(namespace, own)
		listen(namespace, client)
		client.Connect()
		clients[namespace] = client
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var command command
		must(json.Unmarshal(lines.Bytes(), &command))
		emit(clients[command.Namespace], command)
	}
	for _, client := range clients {
		client.Disconnect()
	}
}

func emit(client *socket.Socket, command command) {
	args := rich(command.Args).([]any)
	if command.Ack == nil {
		must(client.Emit(command.Event, args...))
		return
	}
	client.EmitWithAck(command.Event, args...)(func(answer []any, err error) {
		must(err)
		tell(map[string]any{"what": "ack", "ack": *command.Ack, "args": answer})
	})
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
