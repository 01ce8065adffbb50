// The gateways that old clients meet: as in ../suite.mjs, with Engine.IO 3 allowed.

import { openNamespace, tokenHash } from "../harness.mjs";
import { guardedConfig } from "../suite.mjs";

const engine = { allow_eio3: true };

/** Configurations by what scenarios need. `restarted` and `open` are `--dev`. */
export const CONFIGS = {
  guarded: { engine, ...guardedConfig() },
  closed: {
    engine,
    namespaces: [
      openNamespace("/", {
        auth: { tokens: [tokenHash("good")] },
        refusal_data: { code: "E_AUTH", retry: false },
      }),
    ],
  },
  hasty: { engine: { ...engine, ping_interval_ms: 50, ping_timeout_ms: 10_000 }, namespaces: [openNamespace("*")] },
};

/** One gateway is enough for all scenarios that restart it: the tests of a file run one after the other. */
export function shared(needs) {
  return needs === "own" ? "restarted" : needs;
}
