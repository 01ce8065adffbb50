// Waiting for a state of other processes, which have no event for it: asked again and again until a deadline.

import { PATIENCE_MS } from "../../clients/deadline.mjs";

const PAUSE_MS = 10;

/** Resolves when `holds` (asynchronous or not, may throw meanwhile) is true; else fails with `what` and the last word. */
export async function eventually(holds, what, ms = PATIENCE_MS) {
  const until = Date.now() + ms;
  let last;
  do {
    try {
      last = await holds();
      if (last === true) return;
    } catch (error) {
      last = error.message;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  } while (Date.now() < until);
  throw new Error(`${what}: not within ${ms} ms; last: ${JSON.stringify(last)}`);
}
