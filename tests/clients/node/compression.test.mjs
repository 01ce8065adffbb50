// Every scenario with the real client in Node whose messages are compressed in both directions (permessage-deflate, by
// `ws`), however short they are.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { io } from "socket.io-client";

import { next } from "../deadline.mjs";
import { ask, join } from "../kit.mjs";
import { runScenario } from "../runner.mjs";
import { SCENARIOS } from "../scenarios.mjs";
import { Gateways, controls } from "../suite.mjs";

const gateways = new Gateways({
  env: { ROOMCAST__CLIENT__WEBSOCKET_COMPRESSION: "true", ROOMCAST__CLIENT__WEBSOCKET_COMPRESSION_MIN_BYTES: "1" },
});
after(() => gateways.stop());

const compressing = (url, options) => io(url, { ...options, perMessageDeflate: { threshold: 0 } });

for (const transport of ["websocket", "upgrade"]) {
  for (const { name, needs } of SCENARIOS) {
    test(`compressed node ${transport}: ${name}`, async () => {
      const gateway = await gateways.for(needs);
      await runScenario(name, { io: compressing, transport, url: gateway.url, ...controls(gateway) });
    });
  }
}

/** Counts the bytes of the TCP connection below a client's WebSocket, and says what was agreed on. */
function underneath(socket) {
  const websocket = socket.io.engine.transport.ws;
  return { extensions: websocket.extensions, bytes: () => websocket._socket.bytesRead + websocket._socket.bytesWritten };
}

for (const [name, options, isCompressed] of [
  ["one that offers it", {}, true],
  ["one that does not", { perMessageDeflate: false }, false],
]) {
  test(`few bytes go to and come from a client only if it is ${name}`, async () => {
    const gateway = await gateways.for(undefined);
    const sockets = [0, 1].map(() => io(gateway.url, { transports: ["websocket"], forceNew: true, ...options }));
    try {
      await Promise.all(sockets.map((socket) => next(socket, "connect")));
      for (const socket of sockets) await join(socket, "lobby");
      const wires = sockets.map(underneath);
      for (const { extensions } of wires) assert.equal(extensions.startsWith("permessage-deflate"), isCompressed);
      const before = wires.map((wire) => wire.bytes());
      const text = "again and again é€😀 ".repeat(5_000);
      const binary = Buffer.alloc(100_000, 7);
      const arrived = next(sockets[1], "m");
      await ask(sockets[0], "m", text, binary);
      assert.deepEqual(await arrived, [text, binary]);
      const grown = wires.map((wire, index) => wire.bytes() - before[index]);
      for (const bytes of grown) assert.equal(bytes < 10_000, isCompressed, `${grown} bytes`);
    } finally {
      for (const socket of sockets) socket.close();
    }
  });
}
