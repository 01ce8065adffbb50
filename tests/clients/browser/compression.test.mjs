// Every scenario in Chromium, which offers permessage-deflate by itself, with messages compressed however short they are.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { inTestPage, runInBrowser, startChromium } from "../browser.mjs";
import { SCENARIOS } from "../scenarios.mjs";
import { Gateways } from "../suite.mjs";

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

for (const transport of ["websocket", "upgrade"]) {
  for (const { name, needs } of SCENARIOS) {
    test(`compressed chromium ${transport}: ${name}`, async () => {
      const gateway = await gateways.for(needs);
      await runInBrowser(browser, gateway, name, { transport });
    });
  }
}

test("chromium agrees on compression without context takeover", async () => {
  const gateway = await gateways.for(undefined);
  const extensions = await inTestPage(browser, gateway, (page) =>
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
