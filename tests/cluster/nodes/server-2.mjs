// Node's server, socket.io 2, with socket.io-redis 5: another numbering of requests, packet type 5 for binary.

import http from "node:http";
import { promisify } from "node:util";

import Server from "socket.io-2";
import adapter from "socket.io-redis";

import { serveClients } from "./clients.mjs";
import { onOwnMemory, options, serve } from "./control.mjs";

const web = http.createServer();
const io = new Server(web, { serveClient: false });
io.adapter(adapter({ host: "127.0.0.1", port: options.port }));
const root = io.of("/").adapter;
serveClients(io.of("/"));

root.on("error", (error) => {
  throw error;
});
root.customHook = (data, answer) => answer({ server: options.name, data });

const ask = (method, ...args) => promisify(root[method]).call(root, ...args);

serve(
  {
    emit: ({ event, args = [], rooms = [], volatile }) => {
      const target = rooms.reduce((each, room) => each.to(room), io.of("/"));
      (volatile ? target.volatile : target).emit(event, ...onOwnMemory(args));
    },
    ids: ({ rooms = [] } = {}) => ask("clients", rooms),
    fetch: async ({ rooms = [] } = {}) => (await ask("clients", rooms)).map((id) => ({ id })),
    rooms: () => ask("allRooms"),
    roomsOf: ({ id }) => ask("clientRooms", id),
    remoteJoin: ({ id, room }) => ask("remoteJoin", id, room),
    remoteLeave: ({ id, room }) => ask("remoteLeave", id, room),
    remoteDisconnect: ({ id, close }) => ask("remoteDisconnect", id, close),
    custom: ({ data }) => ask("customRequest", data),
    members: ({ room }) => Object.keys(root.rooms[room]?.sockets ?? {}),
  },
  await new Promise((resolve) =>
    web.listen(0, "127.0.0.1", () => resolve({ port: web.address().port, uid: root.uid })),
  ),
);
