// Every scenario in Chromium with the bundle that the gateway serves, on each transport.

import { after, before, test } from "node:test";

import { openTestPage, startChromium } from "../browser.mjs";
import { USUAL } from "../runner.mjs";
import { SCENARIOS } from "../scenarios.mjs";
import { Gateways, controls } from "../suite.mjs";

const gateways = new Gateways();
let browser;

before(async () => {
  browser = await startChromium();
});

after(async () => {
  await browser?.close();
  await gateways.stop();
});

for (const transport of USUAL) {
  for (const { name, needs } of SCENARIOS) {
    test(`chromium ${transport}: ${name}`, async () => {
      const gateway = await gateways.for(needs);
      const context = await browser.newContext();
      try {
        const page = await openTestPage(context, gateway.url);
        for (const [called, act] of Object.entries(controls(gateway))) await page.exposeFunction(called, act);
        await page.evaluate(runInPage, { name, transport, url: gateway.url });
      } finally {
        await context.close();
      }
    });
  }
}

/** Runs in the page, so it may use nothing from here. */
function runInPage({ name, transport, url }) {
  const { io, publish, restart, runScenario } = window;
  return runScenario(name, { io, transport, url, publish, restart });
}
