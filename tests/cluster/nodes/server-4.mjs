// Node's server, socket.io 4, with @socket.io/redis-adapter: classic, or sharded in one of its three modes;
// with the usual parser, or that of MessagePack.

import http from "node:http";

import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";

import { serveClients } from "./clients.mjs";
import { options, serve } from "./control.mjs";
import { redisClients } from "./redis-clients.mjs";

const [publishing, subscribing] = await redisClients(options);
const adapter =
  options.adapter === "sharded"
    ? createShardedAdapter(publishing, subscribing, { subscriptionMode: options.mode })
    : createAdapter(publishing, subscribing);
const web = http.createServer();
const parser = options.parser === "msgpack" ? { parser: msgpack } : {};
const io = new Server(web, { adapter, serveClient: false, ...parser });

/** What other servers emitted to this one: [event, ...args]. */
const heard = [];

for (const name of ["/", "/chat"]) {
  const namespace = io.of(name);
  serveClients(namespace, { server: options.name, since: 2020 });
  for (const event of ["note", "question"]) {
    namespace.on(event, (...args) => {
      const answer = typeof args.at(-1) === "function" ? args.pop() : () => {};
      heard.push([event, ...args]);
      answer({ server: options.name, args });
    });
  }
}

/** The sockets that `targets` (namespace, rooms, except) mean. */
function select({ namespace = "/", rooms = [], except = [] }) {
  return io.of(namespace).to(rooms).except(except);
}

serve(
  {
    emit: ({ event, args = [], volatile, ...targets }) => {
      const operator = select(targets);
      (volatile ? operator.volatile : operator).emit(event, ...args);
    },
    call: ({ event, args = [], timeoutMs, ...targets }) =>
      new Promise((resolve) =>
        select(targets)
          .timeout(timeoutMs)
          .emit(event, ...args, (error, answers) => resolve({ complete: !error, answers })),
      ),
    fetch: async (targets) => {
      const sockets = await select(targets).fetchSockets();
      return sockets.map(({ id, handshake, rooms, data }) => ({ id, handshake, rooms: [...rooms], data }));
    },
    join: ({ join, ...targets }) => select(targets).socketsJoin(join),
    leave: ({ leave, ...targets }) => select(targets).socketsLeave(leave),
    disconnect: ({ close, ...targets }) => select(targets).disconnectSockets(close),
    tell: ({ namespace = "/", event, args = [] }) => void io.of(namespace).serverSideEmit(event, ...args),
    ask: ({ namespace = "/", event, args = [] }) =>
      new Promise((resolve, reject) =>
        io.of(namespace).serverSideEmit(event, ...args, (error, answers) => (error ? reject(error) : resolve(answers))),
      ),
    // The sharded adapter has no such request.
    rooms: async ({ namespace = "/" } = {}) => [...(await io.of(namespace).adapter.allRooms())],
    heard: () => heard,
    /** Ids of the sockets of this process in `room`, as its adapter knows them. */
    members: ({ namespace = "/", room }) => [...(io.of(namespace).adapter.rooms.get(room) ?? [])],
  },
  await new Promise((resolve) => web.listen(0, "127.0.0.1", () => resolve({ port: web.address().port }))),
);
