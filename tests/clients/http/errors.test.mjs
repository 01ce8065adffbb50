// The error table of Engine.IO over HTTP, request by request, against what the reference server answered
// (tests/vectors/errors-eio4.json): status, body, and the headers that clients look at.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { REPOSITORY, openNamespace, startGateway } from "../harness.mjs";
import { openPolling, request } from "./raw.mjs";

const VECTORS = JSON.parse(readFileSync(join(REPOSITORY, "tests/vectors/errors-eio4.json"), "utf8"));

/** Sids of the vectors that no server knows. */
const UNKNOWN_SIDS = ["nope", "__proto__"];

/** Answers that depend on what else the server serves, with the reason. */
const LEFT_OUT = {
  "path without trailing slash (falls through to the application)": "a gateway answers with and without slash",
  "other path": "the body is the application's",
  "client bundle": "has tests of its own",
};

let gateway;

before(async () => {
  gateway = await startGateway({ config: { namespaces: [openNamespace("*")] } });
});

after(() => gateway?.stop());

/** Sids of the vectors → sids of sessions opened here in their place. */
const sessions = new Map();

for (const { name, request: asked, response } of VECTORS.cases) {
  if (!asked || !response?.status || LEFT_OUT[name]) continue;
  test(`${name}: ${asked.method ?? "GET"} ${asked.path}`, async () => {
    // The application of the vectors echoed this event; here a back end sends it.
    if (response.body === '42["hi"]') await gateway.publish({ event: "hi" });
    const answer = await request(gateway.port, await withOwnSession(asked.path), asked);
    assert.equal(answer.status, response.status, `status; body ${answer.body}`);
    assert.equal(masked(answer.body), masked(response.body), "body");
    for (const header of ["content-type", "cache-control"]) {
      const expected = Object.entries(response.headers).find(([key]) => key.toLowerCase() === header)?.[1];
      assert.equal(answer.headers[header], expected, header);
    }
  });
}

async function withOwnSession(path) {
  const sid = new URLSearchParams(path.split("?")[1]).get("sid");
  if (!sid || UNKNOWN_SIDS.includes(sid)) return path;
  if (!sessions.has(sid)) sessions.set(sid, (await openPolling(gateway.port)).sid);
  return path.replace(sid, sessions.get(sid));
}

function masked(body) {
  return body?.replace(/"sid":"[\w-]{20}"/, '"sid":"*"') ?? "";
}
