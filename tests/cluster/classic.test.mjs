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

matrix("redis, gateways that listen to a pattern as Node does", {
  specs: {
    "gateway by pattern": { kind: "gateway", adapter: "redis", env: { ROOMCAST__ADAPTER__SUBSCRIPTIONS: "pattern" } },
    "gateway by room": { kind: "gateway", adapter: "redis" },
    server: { kind: "server-4" },
  },
  operations: OPERATIONS,
});
