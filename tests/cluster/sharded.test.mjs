// The sharded adapter in its three modes: gateways and Node's servers with both Redis clients, on one Redis 7.

import { matrix } from "./kit/matrix.mjs";
import { NUMERIC_ROOMS, OPERATIONS } from "./operations.mjs";

for (const mode of ["static", "dynamic", "dynamic-private"]) {
  matrix(`redis-sharded, ${mode}`, {
    mode,
    specs: {
      "gateway-1": { kind: "gateway", adapter: "redis-sharded" },
      "gateway-2": { kind: "gateway", adapter: "redis-sharded" },
      "server with redis": { kind: "server-4-sharded", adapter: "sharded", library: "redis" },
      "server with ioredis": { kind: "server-4-sharded", adapter: "sharded", library: "ioredis" },
    },
    operations: [...OPERATIONS, NUMERIC_ROOMS],
  });
}
