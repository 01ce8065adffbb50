// The gateways a suite of scenarios runs against: made when first needed, stopped (and their clean end proved)
// when the suite is over.

import { openNamespace, startGateway, tokenHash } from "./harness.mjs";

/** Root open, `/guarded` with a token and one rule, everything else unknown. */
export function guardedConfig() {
  return {
    namespaces: [
      openNamespace("/"),
      {
        name: "/guarded",
        auth: { tokens: [tokenHash("other"), tokenHash("good")] },
        refusal_data: { code: "E_AUTH", retry: false },
        join: ["members"],
        events: [{ event: "hello", action: "relay-to-rooms" }],
      },
    ],
  };
}

export class Gateways {
  #made = new Map();
  #configs;
  #env;

  /** `configs`: configuration by what scenarios need, none being `--dev`; `env`: variables of all gateways. */
  constructor({ configs = { guarded: guardedConfig() }, env } = {}) {
    this.#configs = configs;
    this.#env = env;
  }

  /** The gateway of a scenario: `needs` as in scenarios.mjs. */
  async for(needs) {
    if (needs === "own") return this.#add(Symbol(needs), undefined);
    return this.#made.get(needs) ?? this.#add(needs, this.#configs[needs]);
  }

  #add(key, config) {
    const gateway = startGateway({ config, env: this.#env });
    this.#made.set(key, gateway);
    return gateway;
  }

  /** Stops all, and only then reports the first that did not end cleanly. */
  async stop() {
    const ends = await Promise.allSettled([...this.#made.values()].map(async (made) => (await made).stop()));
    const failed = ends.find((end) => end.status === "rejected");
    if (failed) throw failed.reason;
  }
}

/** What a scenario may do with its gateway, beside connecting to it. */
export function controls(gateway) {
  return {
    publish: (message) => gateway.publish(message),
    restart: async () => {
      await gateway.kill();
      await gateway.start();
    },
  };
}
