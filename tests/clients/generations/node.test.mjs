// Old clients in Node, on each transport: what they share with today's, and what is theirs alone.

import { createRequire } from "node:module";
import { after, test } from "node:test";

import { USUAL, runScenario } from "../runner.mjs";
import { Gateways, controls } from "../suite.mjs";
import { GENERATIONS, scenariosFor, testName, traits } from "./plan.mjs";
import { CONFIGS, shared } from "./suite.mjs";

const require = createRequire(import.meta.url);
const gateways = new Gateways({ configs: CONFIGS });
after(() => gateways.stop());

for (const generation of GENERATIONS) {
  // Up to 2.x there is only the CommonJS form.
  const io = require(generation.module);
  for (const transport of USUAL) {
    for (const { name, needs } of scenariosFor(generation)) {
      test(testName(generation.version, "node", transport, name), async () => {
        const gateway = await gateways.for(shared(needs));
        const more = { ...traits(generation, transport), ...controls(gateway) };
        await runScenario(name, { io, transport, url: gateway.url, ...more });
      });
    }
  }
}
