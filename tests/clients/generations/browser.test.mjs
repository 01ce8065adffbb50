// Old clients in Chromium, with their bundle as the gateway serves it. Unlike Node, a browser takes binary in
// polling bodies from a revision 3 server, and has JSONP.

import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { runInBrowser, startChromium } from "../browser.mjs";
import { REPOSITORY } from "../harness.mjs";
import { Gateways } from "../suite.mjs";
import { CHROMIUM_TRANSPORTS, IN_CHROMIUM, scenariosFor, testName, traits } from "./plan.mjs";
import { CONFIGS, shared } from "./suite.mjs";

let browser;

before(async () => {
  browser = await startChromium();
});

after(() => browser?.close());

for (const generation of IN_CHROMIUM) {
  // One after the other: each has gateways of its own, which serve its bundle.
  describe(`${generation.version} in Chromium`, () => {
    const bundle = join(REPOSITORY, "tests/clients/node_modules", generation.bundle ?? `${generation.module}/dist`);
    const gateways = new Gateways({ configs: CONFIGS, env: { ROOMCAST__CLIENT__BUNDLE_DIR: bundle } });
    after(() => gateways.stop());
    for (const transport of CHROMIUM_TRANSPORTS) {
      for (const { name, needs } of scenariosFor(generation)) {
        test(testName(generation.version, "chromium", transport, name), async () => {
          const gateway = await gateways.for(shared(needs));
          await runInBrowser(browser, gateway, name, { transport, ...traits(generation, transport) });
        });
      }
    }
  });
}
