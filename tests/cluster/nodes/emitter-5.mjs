// A back end in Node with @socket.io/redis-emitter: it publishes, and hears nothing.

import { Emitter } from "@socket.io/redis-emitter";

import { options, serve } from "./control.mjs";
import { redisClients } from "./redis-clients.mjs";

const [publishing, unused] = await redisClients(options);
await unused.quit();
const emitter = new Emitter(publishing);

function select({ namespace = "/", rooms = [], except = [] }) {
  return emitter.of(namespace).to(rooms).except(except);
}

serve({
  emit: ({ event, args = [], volatile, ...targets }) => {
    const operator = select(targets);
    (volatile ? operator.volatile : operator).emit(event, ...args);
  },
  join: ({ join, ...targets }) => select(targets).socketsJoin(join),
  leave: ({ leave, ...targets }) => select(targets).socketsLeave(leave),
  disconnect: ({ close, ...targets }) => select(targets).disconnectSockets(close),
  tell: ({ namespace = "/", event, args = [] }) => emitter.of(namespace).serverSideEmit(event, ...args),
});
