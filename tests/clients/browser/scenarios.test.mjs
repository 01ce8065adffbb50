// Every scenario in Chromium with the bundle that the gateway serves, on each transport.

import { after, before, test } from "node:test";

import { runInBrowser, startChromium } from "../browser.mjs";
import { USUAL } from "../runner.mjs";
import { SCENARIOS } from "../scenarios.mjs";
import { Gateways } from "../suite.mjs";

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
      await runInBrowser(browser, gateway, name, { transport });
    });
  }
}
