// Clients of three generations chat in one room: what one of them says, the others hear.

import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { next } from "../deadline.mjs";
import { startGateway } from "../harness.mjs";
import { OK, ask, join, same, someBytes } from "../kit.mjs";
import { TRANSPORTS } from "../runner.mjs";
import { CURRENT, GENERATIONS, MIXED, MIXED_SCENARIO, MIXED_TRANSPORTS, testName } from "./plan.mjs";

const require = createRequire(import.meta.url);
let gateway;

before(async () => {
  gateway = await startGateway();
});

after(() => gateway?.stop());

for (const transport of MIXED_TRANSPORTS) {
  test(testName(MIXED.join(", "), "node", transport, MIXED_SCENARIO), async () => {
    const sockets = MIXED.map((version) => connect(version, transport));
    try {
      await Promise.all(sockets.map((socket) => next(socket, "connect")));
      for (const socket of sockets) await join(socket, "mixed");
      const text = "hé€😀";
      for (const [n, speaker] of sockets.entries()) {
        const said = [{ by: MIXED[n], text, files: [someBytes(256).buffer] }, someBytes(3, n).buffer];
        const heard = sockets.filter((each) => each !== speaker).map((each) => next(each, "said"));
        same(await ask(speaker, "said", ...said), OK, `answer to ${MIXED[n]}`);
        for (const arguments_ of await Promise.all(heard)) same(arguments_, said, `heard from ${MIXED[n]}`);
      }
      const everyone = sockets.map((each) => next(each, "news"));
      await gateway.emit("news", [text], { rooms: ["mixed"] });
      for (const arguments_ of await Promise.all(everyone)) same(arguments_, [text], "published");
    } finally {
      for (const socket of sockets) socket.disconnect();
    }
  });
}

function connect(version, transport) {
  const module = version === CURRENT ? "socket.io-client" : GENERATIONS.find((each) => each.version === version).module;
  const io = require(module);
  return io(gateway.url, { ...TRANSPORTS[transport], forceNew: true });
}
