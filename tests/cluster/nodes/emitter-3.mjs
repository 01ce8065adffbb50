// A back end in Node with the old socket.io-emitter 3: no `except`, flags of its own.

import createEmitter from "socket.io-emitter";

import { options, serve } from "./control.mjs";

const emitter = createEmitter({ host: "127.0.0.1", port: options.port });

serve({
  emit: ({ event, args = [], rooms = [], volatile, namespace = "/" }) => {
    const target = rooms.reduce((each, room) => each.to(room), emitter.of(namespace));
    (volatile ? target.volatile.broadcast.json : target).emit(event, ...args);
  },
});
