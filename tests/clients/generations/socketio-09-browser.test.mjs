// Socket.IO 0.9 in Chromium: the bundle 0.9.16, as the gateway serves it, in the rooms of today's clients. Unlike Node
// it has JSONP, and pages of another origin.

import { once } from "node:events";
import http from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { io as current } from "socket.io-client";

import { PAGE_PATH, startChromium } from "../browser.mjs";
import { within } from "../deadline.mjs";
import { REPOSITORY, openNamespace, startGateway, tokenHash } from "../harness.mjs";
import { OK, ask, same } from "../kit.mjs";
import { callOptions, connectPublisher } from "../publisher.mjs";
import { V09_PAGE, testName } from "./plan.mjs";

const TRANSPORTS = { websocket: "websocket", polling: "xhr-polling", jsonp: "jsonp-polling" };
const TEXT = "hé€😀";
const PAGE = '<!doctype html><link rel="icon" href="data:,"><script>// JSONP wants a script to stand beside.</script>';

let browser;
let site;
let gateway;
let guarded;
let backEnd;

before(async () => {
  site = await startSite();
  const engine = { allow_socketio_09: true };
  const client = { cors: { origins: [site.origin], credentials: true } };
  const bundle = join(REPOSITORY, "tests/clients/node_modules/socket.io-client-0.9-page/dist");
  const env = { ROOMCAST__CLIENT__BUNDLE_DIR: bundle };
  gateway = await startGateway({ env, config: { engine, client, namespaces: [openNamespace("*")] } });
  const auth = { tokens: [tokenHash("good")] };
  const namespaces = [openNamespace("/", { auth }), openNamespace("/chat"), { name: "/private", auth: "deny" }];
  guarded = await startGateway({ env, config: { engine, namespaces } });
  backEnd = connectPublisher(gateway.grpcAddress);
  browser = await startChromium();
});

after(async () => {
  await browser?.close();
  backEnd?.close();
  site?.server.close();
  await Promise.all([gateway?.stop(), guarded?.stop()]);
});

/** A page on a port, so an origin, of its own. */
async function startSite() {
  const server = http.createServer((_, answer) => answer.writeHead(200, { "Content-Type": "text/html" }).end(PAGE));
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

/** A page of `origin` that is connected to `url`; its sockets are asked for by their endpoint, the root's being "". */
class Page {
  #page;

  static async open(context, url, transport, { origin = url, query = "" } = {}) {
    const page = await context.newPage();
    await page.route(`${url}${PAGE_PATH}`, (route) => route.fulfill({ contentType: "text/html", body: PAGE }));
    await page.goto(`${origin}${PAGE_PATH}`);
    await page.addScriptTag({ url: `${url}/socket.io/socket.io.js` });
    await page.evaluate(connectInPage, { url, transport: TRANSPORTS[transport], query });
    const opened = new Page(page);
    await opened.next("", "connect");
    same(await page.evaluate(() => window.sockets[""].socket.transport.name), TRANSPORTS[transport], "transport");
    same(await page.evaluate(() => window.io.version), V09_PAGE.version, "version");
    return opened;
  }

  constructor(page) {
    this.#page = page;
  }

  /** The arguments of the next event of that name that nobody has asked for yet. */
  next(endpoint, name) {
    const heard = this.#page.evaluate(([endpoint, name]) => window.next(endpoint, name), [endpoint, name]);
    return within(heard, `"${name}" in "${endpoint}"`);
  }

  emit(endpoint, ...event) {
    return this.#page.evaluate(([endpoint, event]) => void window.sockets[endpoint].emit(...event), [endpoint, event]);
  }

  /** The arguments that an event is acknowledged with. */
  call(endpoint, ...event) {
    const asked = ([endpoint, event]) =>
      new Promise((resolve) => window.sockets[endpoint].emit(...event, (...answer) => resolve(answer)));
    return within(this.#page.evaluate(asked, [endpoint, event]), event[0]);
  }

  /** Connects a further namespace of the same session. */
  of(endpoint) {
    return this.#page.evaluate((endpoint) => window.of(endpoint), endpoint);
  }

  leave(endpoint) {
    return this.#page.evaluate((endpoint) => window.sockets[endpoint].disconnect(), endpoint);
  }

  isConnected() {
    return this.#page.evaluate(() => window.sockets[""].socket.connected || window.sockets[""].socket.connecting);
  }
}

/** Runs in the page: connects, and keeps what every socket hears until it is asked for. */
function connectInPage({ url, transport, query }) {
  const inboxes = {};
  window.sockets = {};
  const take = (inbox) => {
    for (const waiting of [...inbox.waiting]) {
      const at = inbox.heard.findIndex(([name]) => name === waiting.name);
      if (at < 0) continue;
      inbox.waiting.splice(inbox.waiting.indexOf(waiting), 1);
      const [[, ...args]] = inbox.heard.splice(at, 1);
      waiting.resolve(args.filter((each) => typeof each !== "function"));
    }
  };
  const keep = (endpoint, socket) => {
    const inbox = { heard: [], waiting: [] };
    const { $emit } = socket;
    socket.$emit = function (...event) {
      inbox.heard.push(event);
      take(inbox);
      return $emit.apply(this, event);
    };
    socket.on("question", (_, answer) => answer?.("forty two", { x: 1 }));
    inboxes[endpoint] = inbox;
    window.sockets[endpoint] = socket;
  };
  window.next = (endpoint, name) =>
    new Promise((resolve) => {
      inboxes[endpoint].waiting.push({ name, resolve });
      take(inboxes[endpoint]);
    });
  window.of = (endpoint) => keep(endpoint, window.sockets[""].socket.of(endpoint));
  // The only way to choose: an array among the options is merged into the library's own.
  window.io.transports = [transport];
  keep("", window.io.connect(url, { "force new connection": true, query }));
}

const scenarios = {
  async chats_with_todays_clients_in_one_room({ open, today, room }) {
    await chat(await open(gateway.url), await today(), room);
  },

  async answers_what_a_back_end_asks({ open, room }) {
    const ancient = await open(gateway.url);
    same(await ancient.call("", "join", room), [OK], "join");
    const message = { rooms: [room], event: "question", arguments: JSON.stringify([TEXT]) };
    const parts = await within(backEnd.Call({ message }, ...callOptions()).toArray(), "the call");
    same(parts.map(({ answer }) => answer && JSON.parse(answer.arguments)), [["forty two", { x: 1 }], null], "answers");
    same(await ancient.next("", "question"), [TEXT], "the question");
  },

  async namespaces_share_a_session_and_nothing_else({ open }) {
    const ancient = await open(guarded.url, { query: "token=good" });
    await ancient.of("/chat");
    await ancient.next("/chat", "connect");
    same(await ancient.call("/chat", "join", "r"), [OK], "join in /chat");
    await guarded.emit("said", [TEXT], { namespace: "/chat", rooms: ["r"] });
    same(await ancient.next("/chat", "said"), [TEXT], "in /chat");
    await guarded.emit("said", ["for the root"]);
    same(await ancient.next("", "said"), ["for the root"], "the first that the root hears");
    await ancient.of("/private");
    same(await ancient.next("/private", "connect_failed"), ["unauthorized"], "refusal");
    await ancient.leave("/chat");
    same(await ancient.call("", "join", "r"), [OK], "the root lives");
  },

  async stays_away_when_the_server_disconnects_it({ open, room }) {
    const ancient = await open(gateway.url);
    same(await ancient.call("", "join", room), [OK], "join");
    const targets = { rooms: [room] };
    const disconnected = new Promise((resolve, reject) =>
      backEnd.DisconnectSockets({ targets, close: true, report: "REPORT_REACH" }, ...callOptions(), (error, answer) =>
        error ? reject(error) : resolve(answer),
      ),
    );
    same((await disconnected).sockets_matched, "1", "disconnected");
    same(await ancient.next("", "disconnect"), ["booted"], "what it hears");
    same(await ancient.isConnected(), false, "whether it is back, or about to be");
  },

  async chats_from_a_page_of_another_origin({ open, today, room }) {
    await chat(await open(gateway.url, { origin: site.origin }), await today(), room);
  },
};

async function chat(ancient, modern, room) {
  same(await ancient.call("", "join", room), [OK], "its answer");
  same(await ask(modern, "join", room), OK, "the other's answer");
  for (const said of [[TEXT, { a: [1, null] }], []]) {
    const heard = event(modern, "said");
    await ancient.emit("", "said", ...said);
    same(await heard, said, "what a 4.8 client hears");
    modern.emit("said", ...said);
    same(await ancient.next("", "said"), said, "what a 0.9 client hears");
  }
  const heard = event(modern, "news");
  await gateway.emit("news", [TEXT], { rooms: [room] });
  same([await heard, await ancient.next("", "news")], [[TEXT], [TEXT]], "what both hear of a back end");
}

function event(socket, name) {
  return within(new Promise((resolve) => socket.once(name, (...args) => resolve(args))), `"${name}"`);
}

for (const transport of V09_PAGE.transports) {
  for (const name of V09_PAGE.scenarios) {
    test(testName(V09_PAGE.version, "chromium", transport, name), async () => {
      const context = await browser.newContext();
      const modern = current(gateway.url, { forceNew: true, autoConnect: false });
      const today = async () => {
        const connected = once(modern, "connect");
        modern.connect();
        await within(connected, "connect");
        return modern;
      };
      try {
        // Of its own: sessions that poll outlive their page.
        const room = `${name} by ${transport}`;
        await scenarios[name]({ open: (url, more) => Page.open(context, url, transport, more), today, room });
      } finally {
        modern.disconnect();
        await context.close();
      }
    });
  }
}
