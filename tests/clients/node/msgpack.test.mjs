// Every scenario with the real client and its MessagePack parser in Node, on each transport. The gateway serves no
// other clients there: what crosses to those of JSON is looked at in tests/cluster.

import { after, test } from "node:test";

import { io } from "socket.io-client";
import parser from "socket.io-msgpack-parser";

import { USUAL, runScenario } from "../runner.mjs";
import { SCENARIOS } from "../scenarios.mjs";
import { Gateways, controls } from "../suite.mjs";

const gateways = new Gateways({ env: { ROOMCAST__CLIENT__PARSER: "msgpack" } });
after(() => gateways.stop());

const withParser = (url, options) => io(url, { ...options, parser });

for (const transport of USUAL) {
  for (const { name, needs } of SCENARIOS) {
    test(`msgpack node ${transport}: ${name}`, async () => {
      const gateway = await gateways.for(needs);
      await runScenario(name, { io: withParser, transport, url: gateway.url, ...controls(gateway) });
    });
  }
}
