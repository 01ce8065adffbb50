// The client bundle as the gateway serves it: the files, their headers, and that each form works in a page.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { PAGE_PATH, startChromium } from "../browser.mjs";
import { BUNDLE_DIR, REPOSITORY, startGateway } from "../harness.mjs";

const SCRIPTS = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];
const FILES = SCRIPTS.flatMap((script) => [script, `${script}.map`]);

let gateway;
let browser;

before(async () => {
  gateway = await startGateway();
  browser = await startChromium();
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
});

for (const file of FILES) {
  test(`${file} is served as it was published`, async () => {
    const answer = await fetch(`${gateway.url}/socket.io/${file}`);
    assert.equal(answer.status, 200);
    const kind = file.endsWith(".map") ? /^application\/json/ : /^(application|text)\/javascript; ?charset=utf-8$/;
    assert.match(answer.headers.get("content-type"), kind);
    assert.equal(await answer.text(), readFileSync(join(BUNDLE_DIR, file), "utf8"));
  });
}

test("unchanged_bundle_is_not_sent_again", async () => {
  const url = `${gateway.url}/socket.io/socket.io.js`;
  const first = await fetch(url);
  await first.arrayBuffer();
  const etag = first.headers.get("etag");
  assert.ok(etag, "an ETag");
  const again = await fetch(url, { headers: { "If-None-Match": etag }, cache: "no-store" });
  assert.equal(again.status, 304);
  assert.equal(await again.text(), "");
});

test("other_files_are_not_served", async () => {
  for (const path of ["package.json", "../package.json", "%2e%2e/package.json", "socket.io.js/..", "socket.io.css"]) {
    const answer = await fetch(`${gateway.url}/socket.io/${path}`);
    const body = await answer.text();
    assert.ok(answer.status >= 400, `${path}: ${answer.status} ${body.slice(0, 80)}`);
  }
});

test("bundle_of_the_generation_that_is_set_is_served_and_connects", async () => {
  const folder = mkdtempSync(join(tmpdir(), "roomcast-bundle-"));
  const dist = join(REPOSITORY, "tests/clients/node_modules/socket.io-client-2.5/dist");
  symlinkSync(dist, join(folder, "2.x"));
  const env = { ROOMCAST__CLIENT__BUNDLE_DIR: folder, ROOMCAST__CLIENT__BUNDLE_GENERATION: "2.x" };
  const old = await startGateway({ env });
  try {
    for (const file of ["socket.io.js", "socket.io.js.map", "socket.io.slim.js"]) {
      const answer = await fetch(`${old.url}/socket.io/${file}`);
      assert.equal(await answer.text(), readFileSync(join(dist, file), "utf8"));
      if (file === "socket.io.js") assert.equal(answer.headers.get("etag"), '"2.5.0"');
    }
    await connectsFrom(old, PAGES["socket.io.js"]);
  } finally {
    await old.stop();
    rmSync(folder, { recursive: true });
  }
});

async function connectsFrom(gateway, html) {
  const page = await browser.newPage();
  await page.route(gateway.url + PAGE_PATH, (route) => route.fulfill({ contentType: "text/html", body: html }));
  await page.goto(gateway.url + PAGE_PATH);
  await page.waitForFunction(() => window.socket?.connected && window.socket.io.engine.transport.name === "websocket");
  await page.close();
}

const PAGES = {
  "socket.io.js": '<script src="/socket.io/socket.io.js"></script><script>window.socket = io();</script>',
  "socket.io.min.js": '<script src="/socket.io/socket.io.min.js"></script><script>window.socket = io();</script>',
  "socket.io.esm.min.js":
    '<script type="module">import { io } from "/socket.io/socket.io.esm.min.js"; window.socket = io();</script>',
};

for (const [file, html] of Object.entries(PAGES)) {
  test(`${file} connects from a page`, () => connectsFrom(gateway, html));
}
