// Runs one scenario, in Node or in a page: makes the sockets it asks for, and closes them. No Node imports.

import { next } from "./deadline.mjs";
import { GENERATION_SCENARIOS } from "./generations/scenarios.mjs";
import { SCENARIOS } from "./scenarios.mjs";

/** Client options that pin a transport. */
export const TRANSPORTS = {
  websocket: { transports: ["websocket"] },
  polling: { transports: ["polling"] },
  upgrade: { transports: ["polling", "websocket"] },
  /** Script tags and forms instead of XMLHttpRequest: browsers, up to 2.x. */
  jsonp: { transports: ["polling"], forceJSONP: true },
};

/** Transports that every generation has, everywhere. */
export const USUAL = ["websocket", "polling", "upgrade"];

/**
 * Runs the scenario of that name and closes its sockets, whatever comes of it. `ctx` without `connect` and
 * `socket`, which are made here.
 */
export async function runScenario(name, ctx) {
  const scenario = [...SCENARIOS, ...GENERATION_SCENARIOS].find((each) => each.name === name);
  const managers = new Set();
  const socket = (namespace, { manager, settled, ...options } = {}) => {
    const made = manager
      ? manager.socket(namespace, options)
      : ctx.io(ctx.url + namespace, {
          ...TRANSPORTS[ctx.transport],
          forceNew: true,
          reconnectionDelay: 100,
          reconnectionDelayMax: 200,
          ...options,
        });
    managers.add(made.io);
    return made;
  };
  const connect = async (namespace, options = {}) => {
    const made = socket(namespace, options);
    await next(made, "connect");
    // Scenarios that are not about the upgrade start behind it.
    const settled = options.settled ?? true;
    if (settled && ctx.transport === "upgrade" && made.io.engine.transport.name === "polling") {
      await next(made.io.engine, "upgrade");
    }
    return made;
  };
  try {
    await scenario.run({ ...ctx, socket, connect });
  } finally {
    // Before 3.x what is private now was the public name.
    for (const manager of managers) (manager._close ?? manager.close).call(manager);
  }
}
