// Node's servers and emitters as participants of a cluster: what each can do, and its process.

import { fileURLToPath } from "node:url";

import { NodeChild } from "./child.mjs";
import { GATEWAY_CAN, GatewayParticipant, PUBLISHER_CAN, PublisherParticipant } from "./gateway.mjs";

const FOLDER = fileURLToPath(new URL("../nodes/", import.meta.url));

const MODERN = ["emit", "except", "binary", "values"];
const REQUESTS = ["call", "fetch", "move", "disconnect", "tell", "ask", "heard", "witness"];

/**
 * Kinds of participants: their script, and what they can do. `serve`: they have clients; `heard`: they tell what other
 * servers emitted to them; `witness`: all others answer their `fetch`; `move`: `socketsJoin` and `socketsLeave`;
 * `report`: they tell how far a message got; `values`: dates, undefined, NaN among arguments; `revision-5`, `revision-6`: what adapters of these versions have for
 * themselves.
 */
export const KINDS = {
  "server-4": { script: "server-4.mjs", can: ["serve", ...MODERN, ...REQUESTS, "rooms"], client: 4 },
  "server-4-sharded": { script: "server-4.mjs", can: ["serve", ...MODERN, ...REQUESTS], client: 4 },
  "server-3": { script: "server-3.mjs", can: ["serve", "emit", "binary", "revision-6"], client: 4 },
  "server-2": { script: "server-2.mjs", can: ["serve", "emit", "revision-5", "witness"], client: 2 },
  "emitter-5": { script: "emitter-5.mjs", can: [...MODERN, "move", "disconnect", "tell"] },
  "emitter-3": { script: "emitter-3.mjs", can: ["emit", "binary"] },
  gateway: { can: [...GATEWAY_CAN] },
  publisher: { can: [...PUBLISHER_CAN] },
};

/** Kinds that are ours. */
export const OURS = ["gateway", "publisher"];

/** Starts a participant of `kind`, a Node process or one of ours, on this Redis. */
export function startParticipant(name, { kind, ...options }) {
  if (kind === "gateway") return GatewayParticipant.start(name, options);
  if (kind === "publisher") return PublisherParticipant.start(name, options);
  return NodeParticipant.start(name, { kind, ...options });
}

class NodeParticipant {
  #child;

  /** Starts a process of `kind` on this Redis. `more`: further options of its script. */
  static async start(name, { kind, redis, ...more }) {
    const options = { name, url: redis.url, urls: redis.urls, port: redis.port, ...more };
    const child = await NodeChild.start(name, FOLDER + KINDS[kind].script, options);
    return new NodeParticipant(name, kind, more.parser, child);
  }

  constructor(name, kind, parser, child) {
    this.name = name;
    this.kind = kind;
    this.can = new Set(KINDS[kind].can);
    /** Generation of the clients that it serves. */
    this.client = KINDS[kind].client;
    this.parser = parser;
    this.#child = child;
  }

  get url() {
    return `http://127.0.0.1:${this.#child.ready.port}`;
  }

  /** Its own name in messages, where all its namespaces share one. */
  get uid() {
    return this.#child.ready.uid;
  }

  get log() {
    return this.#child.log;
  }

  /** Has its process do `command`. */
  do(command, argument) {
    return this.#child.ask(command, argument);
  }

  assertAlive() {
    this.#child.assertAlive();
  }

  suspend() {
    this.#child.suspend();
  }

  resume() {
    this.#child.resume();
  }

  async kill() {
    await this.#child.end("SIGKILL");
  }

  async stop() {
    this.assertAlive();
    await this.#child.end();
  }
}
