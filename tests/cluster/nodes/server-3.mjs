// Node's server, socket.io 3, with @sailshq/socket.io-redis 6: requests in their old forms, one socket at a time.

import http from "node:http";

import { createAdapter } from "@sailshq/socket.io-redis";
import { Server } from "socket.io-3";

import { serveClients } from "./clients.mjs";
import { onOwnMemory, options, serve } from "./control.mjs";

const web = http.createServer();
const io = new Server(web, { adapter: createAdapter(options.url, {}), serveClient: false });
serveClients(io.of("/"), { server: options.name });

// Faults of the adapter are events here, and would otherwise be nobody's.
io.of("/").adapter.on("error", (error) => {
  throw error;
});

serve(
  {
    emit: ({ event, args = [], rooms = [], volatile }) => {
      const target = rooms.reduce((each, room) => each.to(room), io.of("/"));
      (volatile ? target.volatile : target).emit(event, ...onOwnMemory(args));
    },
    ids: async ({ rooms = [] } = {}) => [...(await io.of("/").adapter.sockets(new Set(rooms)))],
    rooms: async () => [...(await io.of("/").adapter.allRooms())],
    fetch: async ({ rooms = [] } = {}) => {
      const sockets = await io.of("/").adapter.fetchSockets({ rooms: new Set(rooms), except: new Set() });
      return sockets.map(({ id, handshake, rooms: joined, data }) => ({ id, handshake, rooms: [...joined], data }));
    },
    remoteJoin: ({ id, room }) => io.of("/").adapter.remoteJoin(id, room),
    remoteLeave: ({ id, room }) => io.of("/").adapter.remoteLeave(id, room),
    remoteDisconnect: ({ id, close }) => io.of("/").adapter.remoteDisconnect(id, close),
    members: ({ room }) => [...(io.of("/").adapter.rooms.get(room) ?? [])],
  },
  await new Promise((resolve) => web.listen(0, "127.0.0.1", () => resolve({ port: web.address().port }))),
);
