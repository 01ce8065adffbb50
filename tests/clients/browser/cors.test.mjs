// Pages of another origin: what the gateway tells browsers, and what Chromium makes of it.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, test } from "node:test";

import { startChromium } from "../browser.mjs";
import { openNamespace, startGateway } from "../harness.mjs";
import { freePort } from "../ports.mjs";
import { exchange, request, upgradeRequest } from "../http/raw.mjs";
import { TRANSPORTS } from "../runner.mjs";

const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";

let browser;
let friend;
let stranger;
let gateway;

before(async () => {
  friend = await startSite();
  stranger = await startSite();
  gateway = await startGateway({
    config: {
      client: { cors: { origins: [friend.origin, "https://app.example.com"], credentials: true } },
      namespaces: [openNamespace("*")],
    },
  });
  browser = await startChromium();
});

after(async () => {
  await browser?.close();
  friend?.server.close();
  stranger?.server.close();
  await gateway?.stop();
});

/** An empty page on a port, so an origin, of its own. */
async function startSite() {
  const port = await freePort();
  const server = http.createServer((_, answer) => {
    answer.writeHead(200, { "Content-Type": "text/html" }).end('<!doctype html><link rel="icon" href="data:,">');
  });
  await once(server.listen(port, "127.0.0.1"), "listening");
  return { server, origin: `http://127.0.0.1:${port}` };
}

/** Connects from a page of `site`; "connected" or the client's error. */
async function connectFrom(site, transport, more = {}) {
  const page = await browser.newPage();
  try {
    await page.goto(site.origin);
    await page.addScriptTag({ url: `${gateway.url}/socket.io/socket.io.min.js` });
    return await page.evaluate(
      ([url, options]) =>
        new Promise((resolve) => {
          const socket = window.io(url, { ...options, reconnection: false });
          socket.on("connect", async () => resolve((await socket.emitWithAck("hello")).status));
          socket.on("connect_error", (error) => resolve(error.message));
        }),
      [gateway.url, { ...TRANSPORTS[transport], ...more }],
    );
  } finally {
    await page.close();
  }
}

for (const transport of Object.keys(TRANSPORTS)) {
  test(`page of a listed origin connects by ${transport}`, async () => {
    assert.equal(await connectFrom(friend, transport), "ok");
    assert.equal(await connectFrom(friend, transport, { withCredentials: true }), "ok");
  });

  test(`page of another origin does not connect by ${transport}`, async () => {
    assert.match(await connectFrom(stranger, transport), /^(xhr poll|websocket) error$/);
  });
}

test("page_with_extra_headers_passes_the_preflight", async () => {
  assert.equal(await connectFrom(friend, "polling", { extraHeaders: { "X-Shop": "7" } }), "ok");
});

test("listed_origin_is_echoed_with_credentials", async () => {
  const { status, headers } = await request(gateway.port, HANDSHAKE, { headers: { Origin: friend.origin } });
  assert.equal(status, 200);
  assert.equal(headers["access-control-allow-origin"], friend.origin);
  assert.equal(headers["access-control-allow-credentials"], "true");
  assert.match(headers.vary, /Origin/);
});

test("error_answers_carry_the_headers_too", async () => {
  const { status, headers } = await request(gateway.port, `${HANDSHAKE}&sid=nope`, {
    headers: { Origin: friend.origin },
  });
  assert.equal(status, 400);
  assert.equal(headers["access-control-allow-origin"], friend.origin);
});

test("foreign_origin_is_forbidden_before_a_session_is_made", async () => {
  const { status, headers, body } = await request(gateway.port, HANDSHAKE, { headers: { Origin: stranger.origin } });
  assert.deepEqual([status, body], [403, '{"code":4,"message":"Forbidden"}']);
  assert.equal(headers["access-control-allow-origin"], undefined);
  const upgrade = upgradeRequest("/socket.io/?EIO=4&transport=websocket", { Origin: stranger.origin });
  const answer = await exchange(gateway.port, upgrade);
  assert.match(answer, /^HTTP\/1\.1 400 /);
  assert.equal(answer.split("\r\n\r\n")[1], "Forbidden");
});

test("preflight_allows_what_it_asks_for", async () => {
  const { status, headers } = await request(gateway.port, HANDSHAKE, {
    method: "OPTIONS",
    headers: {
      Origin: friend.origin,
      "Access-Control-Request-Method": "POST",
      "Access-Control-Request-Headers": "x-shop,content-type",
    },
  });
  assert.equal(status, 204);
  assert.equal(headers["access-control-allow-origin"], friend.origin);
  assert.equal(headers["access-control-allow-methods"], "GET,HEAD,PUT,PATCH,POST,DELETE");
  assert.equal(headers["access-control-allow-headers"], "x-shop,content-type");
  assert.match(headers.vary, /Access-Control-Request-Headers/);
});
