// Old clients in Chromium, with their bundle as the gateway serves it. Unlike Node, a browser takes binary in
// polling bodies from a revision 3 server, and has JSONP.

import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { openTestPage, startChromium } from "../browser.mjs";
import { REPOSITORY } from "../harness.mjs";
import { Gateways, controls } from "../suite.mjs";
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
          const ctx = { transport, url: gateway.url, ...traits(generation, transport) };
          await runInBrowser(gateway, name, ctx);
        });
      }
    }
  });
}

async function runInBrowser(gateway, name, ctx) {
  const context = await browser.newContext();
  try {
    const page = await openTestPage(context, gateway.url);
    for (const [called, act] of Object.entries(controls(gateway))) await page.exposeFunction(called, act);
    await page.evaluate(runInPage, { name, ctx });
  } finally {
    await context.close();
  }
}

/** Runs in the page, so it may use nothing from here. */
function runInPage({ name, ctx }) {
  const { io, publish, restart, runScenario } = window;
  return runScenario(name, { ...ctx, io, publish, restart });
}
