// A real HAProxy in front of a gateway: it passes bytes on and says whose they are, in a PROXY header.

import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "../../clients/ports.mjs";
import { Child } from "./child.mjs";
import { eventually } from "./eventually.mjs";

const PROGRAM = "/usr/sbin/haproxy";

/** A balancer over `port` of 127.0.0.1, which begins each connection as `header` says: `send-proxy` or `send-proxy-v2`. */
export async function startHaproxy(port, header) {
  const own = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "roomcast-haproxy-"));
  const file = join(folder, "haproxy.cfg");
  writeFileSync(file, configuration(own, port, header));
  const child = Child.spawn("haproxy", PROGRAM, ["-db", "-f", file]);
  await eventually(async () => {
    child.assertAlive();
    const socket = net.connect(own, "127.0.0.1");
    await once(socket, "connect");
    socket.destroy();
    return true;
  }, "haproxy answers; install it if it is missing (Debian: apt-get install haproxy)");
  return {
    url: `http://127.0.0.1:${own}`,
    async stop() {
      await child.end("SIGTERM");
      rmSync(folder, { recursive: true });
    },
  };
}

function configuration(own, port, header) {
  return `
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen gateways
  bind 127.0.0.1:${own}
  # Its health checks speak for themselves: LOCAL in version 2, UNKNOWN in version 1.
  server gateway 127.0.0.1:${port} ${header} check check-send-proxy inter 100ms
`;
}
