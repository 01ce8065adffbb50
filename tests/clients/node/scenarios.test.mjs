// Every scenario with the real client in Node, on each transport.

import { after, test } from "node:test";

import { io } from "socket.io-client";

import { USUAL, runScenario } from "../runner.mjs";
import { SCENARIOS } from "../scenarios.mjs";
import { Gateways, controls } from "../suite.mjs";

const gateways = new Gateways();
after(() => gateways.stop());

for (const transport of USUAL) {
  for (const { name, needs } of SCENARIOS) {
    test(`node ${transport}: ${name}`, async () => {
      const gateway = await gateways.for(needs);
      await runScenario(name, { io, transport, url: gateway.url, ...controls(gateway) });
    });
  }
}
