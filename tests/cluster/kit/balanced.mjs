// Three gateways that find each other through Redis, and nginx in front of them, which deals out every single request
// to the next: no sticky sessions.

import { startGateway } from "../../clients/harness.mjs";
import { eventually } from "./eventually.mjs";
import { startNginx } from "./nginx.mjs";
import { startRedis } from "./redis.mjs";

/** Starts them, and waits until sessions of each can be reached at each. `env`: further variables of all gateways. */
export async function startBalanced({ env = {} } = {}) {
  const balanced = new Balanced();
  await balanced.start(env);
  return balanced;
}

class Balanced {
  gateways = [];
  nginx = null;
  /** Failures while the gateways did not know each other yet. */
  early;
  #redis = null;

  async start(env) {
    this.#redis = await startRedis();
    const variables = { ROOMCAST__ADAPTER__KIND: "redis", ROOMCAST__REDIS__URL: this.#redis.url, ...env };
    this.gateways = await Promise.all([0, 1, 2].map(() => startGateway({ env: variables })));
    await this.settled();
    this.early = await this.failures();
    this.nginx = await startNginx(this.gateways.map(({ port }) => port));
  }

  get url() {
    return this.nginx.url;
  }

  async stop() {
    await this.nginx?.stop();
    await Promise.all(this.gateways.map((gateway) => gateway.stop()));
    await this.#redis?.stop();
  }

  /** Resolves when sessions of each gateway can be reached at each. */
  settled() {
    const known = (gateway) => this.#isKnownEverywhere(gateway);
    const areKnown = async () => (await Promise.all(this.gateways.map(known))).every(Boolean);
    return eventually(areKnown, "the gateways know each other");
  }

  /** Requests that were answered with a failure. */
  failed() {
    // 499: a client that says goodbye gives up its last poll.
    const isGoodbye = ({ status, method }) => status === 499 && method === "GET";
    return this.nginx.requests().filter((request) => ![200, 101].includes(request.status) && !isGoodbye(request));
  }

  /** How many requests each gateway was given. */
  shares() {
    const requests = this.nginx.requests();
    return this.gateways.map(({ port }) => requests.filter(({ by }) => by === `127.0.0.1:${port}`).length);
  }

  /** Requests that were not forwarded, and those that were refused, of all gateways. */
  async failures() {
    return [await this.sum("roomcast_forward_failures_total"), await this.sum("roomcast_requests_refused_total")];
  }

  /** A metric, over all gateways and labels. */
  async sum(name) {
    const pages = await Promise.all(this.gateways.map(async ({ opsUrl }) => (await fetch(`${opsUrl}/metrics`)).text()));
    const values = pages.flatMap((page) => [...page.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))]);
    return values.reduce((total, [, value]) => total + Number(value), 0);
  }

  /** Whether sessions of `owner` can be reached at every gateway. */
  async #isKnownEverywhere(owner) {
    for (const { url } of this.gateways) {
      const opened = await fetch(`${owner.url}/socket.io/?EIO=4&transport=polling`);
      const { sid } = JSON.parse((await opened.text()).slice(1));
      // A packet that closes the session, so that none is left.
      const closed = await fetch(`${url}/socket.io/?EIO=4&transport=polling&sid=${sid}`, { method: "POST", body: "1" });
      if (closed.status !== 200) return false;
    }
    return true;
  }
}
