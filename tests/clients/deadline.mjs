// Waiting without sleeping: every wait names what it waits for and fails when its time is over.
// No Node imports: the browser loads this file too.

/** How long a test waits for one happening, in ms. Generous: a loaded machine must not fail a right server. */
export const PATIENCE_MS = 15_000;

/** The value of `promise`, or an error naming `what` after `ms`. */
export function within(promise, what, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The arguments of the next `event` of `emitter` (client socket, engine, manager or Node emitter), as a list. */
export function next(emitter, event, ms = PATIENCE_MS) {
  return within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), `event "${event}"`, ms);
}

/** The next `count` events of the name, as a list of their argument lists, in order of arrival. */
export function nextMany(emitter, event, count, ms = PATIENCE_MS) {
  const seen = [];
  const all = new Promise((resolve) => {
    emitter.on(event, function listen(...args) {
      seen.push(args);
      if (seen.length < count) return;
      emitter.off(event, listen);
      resolve(seen);
    });
  });
  return within(all, `${count} times event "${event}"`, ms).catch((error) => {
    throw new Error(`${error.message}; ${seen.length} came`);
  });
}
