// The classic adapter: gateways, Node's servers with both Redis clients, and the emitter, on one Redis.

import { matrix } from "./kit/matrix.mjs";
import { NUMERIC_ROOMS, OPERATIONS } from "./operations.mjs";

matrix("redis", {
  specs: {
    "gateway-1": { kind: "gateway", adapter: "redis" },
    "gateway-2": { kind: "gateway", adapter: "redis" },
    "server with redis": { kind: "server-4", library: "redis" },
    "server with ioredis": { kind: "server-4", library: "ioredis" },
    emitter: { kind: "emitter-5" },
  },
  operations: [...OPERATIONS, NUMERIC_ROOMS],
});
