// Clients with MessagePack (`socket.io-msgpack-parser`) on gateways and on a Node server, beside clients with JSON on
// others, all on one Redis: what the adapters carry are packets, whose form on a connection is its server's own affair.

import { matrix } from "./kit/matrix.mjs";
import { OPERATIONS } from "./operations.mjs";

// MessagePack has dates and no typed arrays, so that what JSON has not is another thing to clients of a Node server with
// that parser; those of gateways get it as clients with JSON do, which the other suites show.
const operations = OPERATIONS.filter(({ needs }) => !needs.includes("values"));

const GATEWAYS = { "gateway with MessagePack 1": "msgpack", "gateway with MessagePack 2": "msgpack", "gateway with JSON": "json" };
const SERVERS = { "server with MessagePack": "msgpack", "server with JSON": "json" };

for (const [adapter, { mode, server }] of Object.entries({
  redis: { server: { kind: "server-4" } },
  "redis-sharded": { mode: "dynamic", server: { kind: "server-4-sharded", adapter: "sharded" } },
})) {
  const all = (parsers, spec) => Object.entries(parsers).map(([name, parser]) => [name, { ...spec, parser }]);
  const specs = Object.fromEntries([...all(GATEWAYS, { kind: "gateway", adapter }), ...all(SERVERS, server)]);
  matrix(`MessagePack and JSON on ${adapter}`, { mode, specs, operations });
}
