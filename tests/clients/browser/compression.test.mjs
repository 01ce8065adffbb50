// Every scenario in Chromium, which offers permessage-deflate by itself, with messages compressed however short they are.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openTestPage, startChromium } from "../browser.mjs";
import { SCENARIOS } from "../scenarios.mjs";
import { Gateways, controls } from "../suite.mjs";

const gateways = new Gateways({
  env: { ROOMCAST__CLIENT__WEBSOCKET_COMPRESSION: "true", ROOMCAST__CLIENT__WEBSOCKET_COMPRESSION_MIN_BYTES: "1" },
});
let browser;

before(async () => {
  browser = await startChromium();
});

after(async () => {
  await browser?.close();
  await gateways.stop();
});

async function inPage(gateway, act) {
  const context = await browser.newContext();
  try {
    const page = await openTestPage(context, gateway.url);
    for (const [called, control] of Object.entries(controls(gateway))) await page.exposeFunction(called, control);
    return await act(page);
  } finally {
    await context.close();
  }
}

for (const transport of ["websocket", "upgrade"]) {
  for (const { name, needs } of SCENARIOS) {
    test(`compressed chromium ${transport}: ${name}`, async () => {
      const gateway = await gateways.for(needs);
      await inPage(gateway, (page) => page.evaluate(runInPage, { name, transport, url: gateway.url }));
    });
  }
}

/** Runs in the page, so it may use nothing from here. */
function runInPage({ name, transport, url }) {
  const { io, publish, restart, runScenario } = window;
  return runScenario(name, { io, transport, url, publish, restart });
}

test("chromium agrees on compression without context takeover", async () => {
  const gateway = await gateways.for(undefined);
  const extensions = await inPage(gateway, (page) =>
    page.evaluate(
      (url) =>
        new Promise((resolve, reject) => {
          const websocket = new WebSocket(`${url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
          // Behind the first message, which is compressed already.
          websocket.onmessage = () => resolve(websocket.extensions);
          websocket.onerror = () => reject(new Error("no WebSocket"));
        }),
      gateway.url,
    ),
  );
  assert.match(extensions, /^permessage-deflate; server_no_context_takeover; client_no_context_takeover$/);
});
