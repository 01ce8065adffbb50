// Node's Socket.IO server with ws, serving what the load generator asks of a gateway:
// node server.mjs --port N --ping-interval-ms N [--redis URL]
import { createServer } from "node:http";
import { parseArgs } from "node:util";

import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const { values } = parseArgs({
  options: { port: { type: "string" }, "ping-interval-ms": { type: "string" }, redis: { type: "string" } },
});

const http = createServer();
const io = new Server(http, {
  // What the performance page of its documentation says: no compression, and no copy of the request kept.
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  pingInterval: Number(values["ping-interval-ms"]),
});
io.engine.on("connection", (connection) => {
  connection.request = null;
});

if (values.redis) {
  const publisher = createClient({ url: values.redis });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  io.adapter(createAdapter(publisher, subscriber));
}

io.on("connection", (socket) => {
  socket.on("join", (room, acknowledge) => {
    socket.join(room);
    acknowledge({ status: "ok" });
  });
  socket.on("m", (room, text) => socket.to(room).emit("m", room, text));
  socket.on("echo", (text, acknowledge) => acknowledge({ status: "ok" }));
});

http.listen(Number(values.port), "127.0.0.1", 4096);
process.on("SIGTERM", () => process.exit(0));
