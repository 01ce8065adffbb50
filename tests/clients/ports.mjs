// Ports for servers under test: each test process has its own block, below the range from which the
// kernel gives out ports by itself, so suites that run at the same time never meet. Gateways listen with
// SO_REUSEPORT: two on one port would not fail, they would quietly share its clients.

import net from "node:net";

const FIRST_PORT = 20_000;
const BLOCKS = 300;
const BLOCK_PORTS = 40;

let given = 0;

/**
 * The next port of this process's block that nobody listens on: one given before comes again only when all others
 * have. Throws when all are listened on.
 */
export async function freePort() {
  for (let tried = 0; tried < BLOCK_PORTS; tried += 1) {
    const port = FIRST_PORT + (process.pid % BLOCKS) * BLOCK_PORTS + (given % BLOCK_PORTS);
    given += 1;
    if (await isFree(port)) return port;
  }
  throw new Error(`all ${BLOCK_PORTS} ports of this test process are used: start fewer servers in one file`);
}

function isFree(port) {
  return new Promise((resolve) => {
    const probe = net.createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}
