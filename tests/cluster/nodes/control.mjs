// What every process of this folder shares: its options, and doing what the test asks for, in order.

/** As the test gave them. */
export const options = JSON.parse(process.argv[2]);

/**
 * Does `commands` when asked; each takes one argument and gives a value or a promise. `ready` is told to the test.
 * Nothing catches what an adapter throws outside of a command: such a process is to die, and to be seen dying.
 */
export function serve(commands, ready = {}) {
  process.on("message", async ({ id, command, argument }) => {
    try {
      if (!commands[command]) throw new Error(`no command ${command}`);
      process.send({ id, value: await commands[command](argument) });
    } catch (error) {
      process.send({ id, error: error.message });
    }
  });
  process.once("disconnect", () => process.exit(0));
  process.send({ ready });
}

/**
 * `args` with typed arrays on memory of their own: those that came from the test are views of a whole message, which
 * old versions of notepack would send along.
 */
export function onOwnMemory(args) {
  return args.map((arg) => (arg instanceof Uint8Array && !Buffer.isBuffer(arg) ? Uint8Array.from(arg) : arg));
}
