// Pages of Deployd 1.2, with the real dpd.js of dpd-clientlib 1.0.0 (socket.io-client 1.3 inside), put together as
// Deployd's own server does it. Its back end is the publish API here: rooms by user, emits to all, to a room, to one.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { startChromium } from "../browser.mjs";
import { PATIENCE_MS } from "../deadline.mjs";
import { startGateway } from "../harness.mjs";
import { same, truth } from "../kit.mjs";
import { callOptions, connectPublisher } from "../publisher.mjs";

const PAGE = "/deployd-test-page/";
const TEXT = "hé€😀";
const LIBRARY = join(dirname(createRequire(import.meta.url).resolve("dpd-clientlib/package.json")), "clib");

let gateway;
let browser;
let publisher;

before(async () => {
  gateway = await startGateway();
  browser = await startChromium();
  publisher = connectPublisher(gateway.grpcAddress);
});

after(async () => {
  publisher?.close();
  await browser?.close();
  await gateway?.stop();
});

/** dpd.js with one collection, `messages`, whose part Deployd generates. */
function script() {
  const files = ["socket.io.min.js", "ayepromise.min.js", "ajax.js", "dpd.js"];
  const collection = 'dpd.messages = { on: (event, fn) => dpd.on("messages:" + event, fn) };';
  return [...files.map((file) => readFileSync(join(LIBRARY, file), "utf8")), collection].join("\n");
}

/** A page of the gateway's origin that writes down what it hears; `window.heard` is the list. */
async function openPage(context) {
  const page = await context.newPage();
  const serve = (path, contentType, body) =>
    page.route(gateway.url + PAGE + path, (route) => route.fulfill({ contentType, body }));
  await serve("", "text/html", `<!doctype html><link rel="icon" href="data:,"><script src="dpd.js"></script>`);
  await serve("dpd.js", "text/javascript", script());
  await page.goto(gateway.url + PAGE);
  await page.evaluate((origin) => {
    window.heard = [];
    const hear = (name) => (data) => window.heard.push([name, data]);
    dpd.setBaseUrl(origin);
    for (const name of ["create", "update", "room"]) dpd.messages.on(name, hear(name));
    for (const name of ["foruser", "server:acksession", "disconnect", "reconnect"]) dpd.on(name, hear(name));
    return new Promise((resolve) => dpd.socketReady(resolve));
  }, gateway.url);
  await page.waitForFunction(() => dpd.socket.io.engine.transport.name === "websocket");
  return page;
}

/** What the page has heard, once it is `count` happenings; they are then forgotten. */
async function heard(page, count) {
  await page.waitForFunction((count) => window.heard.length >= count, count, { timeout: PATIENCE_MS });
  return page.evaluate(() => window.heard.splice(0));
}

const idOf = (page) => page.evaluate(() => dpd.socket.io.engine.id);

function joinRooms(id, rooms) {
  const call = promisify(publisher.JoinRooms.bind(publisher));
  return call({ targets: { namespace: "/", rooms: [id] }, rooms }, ...callOptions());
}

test("pages of Deployd hear what is for all, for a room, for a user and for themselves", async () => {
  const context = await browser.newContext();
  try {
    const [ada, bob] = [await openPage(context), await openPage(context)];
    const created = { text: TEXT, id: "c91c" };
    await gateway.emit("messages:create", [created]);
    for (const page of [ada, bob]) same(await heard(page, 1), [["create", created]], "an emit to all");

    await bob.evaluate(() => dpd.setSessionId("0123456789abcdef"));
    await joinRooms(await idOf(bob), ["dpd_uid:bob", "lobby"]);
    await gateway.emit("server:acksession", [], { rooms: [await idOf(bob)] });
    same(await heard(bob, 1), [["server:acksession", null]], "the session is bound");
    await gateway.emit("foruser", [{ secret: 1 }], { rooms: ["dpd_uid:bob"] });
    await gateway.emit("messages:room", [{ room: "lobby" }], { rooms: ["lobby"] });
    await gateway.emit("messages:update", [created]);
    same(await heard(bob, 3), [["foruser", { secret: 1 }], ["room", { room: "lobby" }], ["update", created]], "Bob");
    same(await heard(ada, 1), [["update", created]], "Ada");
    truth(await ada.evaluate(() => dpd.socket.connected), "nobody is cut off by an unknown session");
  } finally {
    await context.close();
  }
});

test("pages of Deployd come back after the server did, and hear again", async () => {
  const context = await browser.newContext();
  try {
    const page = await openPage(context);
    await gateway.kill();
    await gateway.start();
    const [[gone], [back]] = await heard(page, 2);
    same([gone, back], ["disconnect", "reconnect"], "what the page is told");
    await joinRooms(await idOf(page), ["lobby"]);
    await gateway.emit("messages:room", [TEXT], { rooms: ["lobby"] });
    same(await heard(page, 1), [["room", TEXT]], "the next message of the room");
  } finally {
    await context.close();
  }
});
