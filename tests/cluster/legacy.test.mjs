// Old servers and emitters on the channels of the classic adapter. Three clusters, because Node's own generations do
// not bear each other: a 4.x server loses its clients by binary of a 2.x one, and waits in vain for its answers.

import { matrix } from "./kit/matrix.mjs";
import { REVISION_5, REVISION_6 } from "./old-operations.mjs";
import { OPERATIONS } from "./operations.mjs";

const OF_ALL = ["serve", "emit", "except", "report"];
const TEXT_ONLY = OPERATIONS.filter(({ needs }) => needs.every((need) => OF_ALL.includes(need)));

matrix("redis, broadcasts of all generations", {
  specs: {
    "gateway-1": { kind: "gateway", adapter: "redis" },
    "server 4": { kind: "server-4", library: "redis" },
    "server 3 with sails": { kind: "server-3" },
    "server 2": { kind: "server-2" },
    "emitter 5": { kind: "emitter-5" },
    "emitter 3": { kind: "emitter-3" },
  },
  operations: TEXT_ONLY,
});

matrix("redis, with socket.io-redis 5", {
  specs: {
    "gateway-1": { kind: "gateway", adapter: "redis" },
    "server 2": { kind: "server-2" },
    "other server 2": { kind: "server-2" },
  },
  operations: [...TEXT_ONLY, ...REVISION_5],
  // Packet type 5 is theirs alone, and so is their way to write what MessagePack has not.
  isSound: ({ payload }, { servers }) => !servers.some(({ uid }) => uid && payload.includes(uid)),
});

matrix("redis, with sails' adapter", {
  specs: {
    "gateway-1": { kind: "gateway", adapter: "redis" },
    "server 4": { kind: "server-4", library: "ioredis" },
    "server 3": { kind: "server-3" },
    "other server 3": { kind: "server-3" },
    "emitter 3": { kind: "emitter-3" },
  },
  operations: [
    ...OPERATIONS.filter(({ needs }) => needs.includes("binary") && !needs.includes("values")),
    ...REVISION_6,
  ],
  isSound: ({ payload }) => !payload.includes(Buffer.from("d40000", "hex")),
});
