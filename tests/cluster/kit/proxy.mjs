// A TCP proxy between gateways and Redis, or callers and gateways, which can be slow, cut connections, or let nothing through.

import { once } from "node:events";
import net from "node:net";

export class Proxy {
  #target;
  #server;
  #pairs = new Set();
  #latencyMs = 0;
  #bytesPerSecond = Infinity;
  #isCut = false;
  #isHeld = false;

  /** Forwards connections to `target`, a port of loopback. */
  static async start(target) {
    const proxy = new Proxy(target);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  constructor(target) {
    this.#target = target;
    this.#server = net.createServer({ pauseOnConnect: true }, (near) => this.#accept(near));
  }

  get url() {
    return `redis://${this.address}`;
  }

  get address() {
    return `127.0.0.1:${this.#server.address().port}`;
  }

  /** From now on each byte is on its way that long, and no more of them pass, in each direction of each connection. */
  slow({ latencyMs, bytesPerSecond }) {
    this.#latencyMs = latencyMs;
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Ends all connections, and each new one, until `heal`. */
  cut() {
    this.#isCut = true;
    for (const pair of this.#pairs) pair.end();
  }

  /** Lets nothing through until `heal`, and tells nobody: what is sent meanwhile waits, as when a network is split. */
  hold() {
    this.#isHeld = true;
    for (const pair of this.#pairs) pair.pause();
  }

  /** Takes back what `slow`, `cut` and `hold` have done. */
  heal() {
    this.#latencyMs = 0;
    this.#bytesPerSecond = Infinity;
    this.#isCut = false;
    this.#isHeld = false;
    for (const pair of this.#pairs) pair.resume();
  }

  async stop() {
    for (const pair of this.#pairs) pair.end();
    this.#server.close();
    await once(this.#server, "close");
  }

  #accept(near) {
    if (this.#isCut) {
      near.destroy();
      return;
    }
    const delay = () => ({ latencyMs: this.#latencyMs, bytesPerSecond: this.#bytesPerSecond });
    const pair = new Pair(near, this.#target, delay);
    this.#pairs.add(pair);
    near.once("close", () => this.#pairs.delete(pair));
    if (!this.#isHeld) pair.resume();
  }
}

/** A connection from a gateway and the one to Redis that belongs to it, which is made when the first is let through. */
class Pair {
  #near;
  #far = null;
  #target;
  #delay;

  constructor(near, target, delay) {
    this.#near = near;
    this.#target = target;
    this.#delay = delay;
    near.on("error", () => this.end());
    near.on("close", () => this.end());
  }

  pause() {
    this.#near.pause();
    this.#far?.pause();
  }

  resume() {
    if (!this.#far) {
      this.#far = net.connect(this.#target, "127.0.0.1");
      this.#far.on("error", () => this.end());
      this.#far.on("close", () => this.end());
      carry(this.#near, this.#far, this.#delay);
      carry(this.#far, this.#near, this.#delay);
    }
    this.#near.resume();
    this.#far.resume();
  }

  end() {
    this.#near.destroy();
    this.#far?.destroy();
  }
}

/** Hands on what comes from one side, in order, as late as `delay` says when it comes. */
function carry(from, to, delay) {
  let free = 0;
  let due = 0;
  let last = Promise.resolve();
  const hand = (at, act) => {
    // One after the other: what comes now must not overtake what was delayed.
    last = last.then(() => until(at)).then(act);
  };
  from.on("data", (chunk) => {
    const { latencyMs, bytesPerSecond } = delay();
    free = Math.max(free, Date.now()) + (1000 * chunk.length) / bytesPerSecond;
    due = Math.max(due, free + latencyMs);
    hand(due, () => to.writable && to.write(chunk));
  });
  from.on("end", () => hand(due, () => to.end()));
}

function until(at) {
  const ms = at - Date.now();
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : undefined;
}
