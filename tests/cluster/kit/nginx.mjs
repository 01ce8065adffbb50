// A real nginx in front of gateways, as a user would set it up: round robin, and nothing that keeps a client on one.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "../../clients/ports.mjs";
import { Child } from "./child.mjs";
import { eventually } from "./eventually.mjs";

const PROGRAM = "/usr/sbin/nginx";

/** A balancer over `ports` of 127.0.0.1. Each request goes to the next; none is tried a second time. */
export async function startNginx(ports) {
  const balancer = new Nginx(await freePort(), ports);
  await balancer.start();
  return balancer;
}

class Nginx {
  #child = null;
  #ports;
  #folder = mkdtempSync(join(tmpdir(), "roomcast-nginx-"));

  constructor(port, ports) {
    this.port = port;
    this.#ports = ports;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async start() {
    const file = join(this.#folder, "nginx.conf");
    writeFileSync(file, configuration(this.#folder, this.port, this.#ports));
    this.#child = Child.spawn("nginx", PROGRAM, ["-c", file, "-p", this.#folder, "-e", join(this.#folder, "error.log")]);
    await eventually(async () => {
      this.#child.assertAlive();
      return (await fetch(`${this.url}/health`)).status === 200;
    }, "nginx answers; install it if it is missing (Debian: apt-get install nginx)");
  }

  /** Every request to Engine.IO so far: status, the port that answered, method, target and seconds. */
  requests() {
    const lines = readFileSync(join(this.#folder, "access.log"), "utf8").split("\n").filter(Boolean);
    return lines.map((line) => JSON.parse(line)).filter(({ target }) => target.startsWith("/socket.io/"));
  }

  async stop() {
    await this.#child.end("SIGQUIT");
    rmSync(this.#folder, { recursive: true });
  }
}

function configuration(folder, port, ports) {
  const servers = ports.map((each) => `server 127.0.0.1:${each} max_fails=0;`).join(" ");
  return `
daemon off; master_process off; worker_processes 1; pid ${folder}/pid;
events { worker_connections 4096; }
http {
  log_format json '{"status":$status,"by":"$upstream_addr","method":"$request_method","target":"$request_uri","took":$request_time}';
  access_log ${folder}/access.log json;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f;
  uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  upstream gateways { ${servers} keepalive 64; }
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  server {
    listen 127.0.0.1:${port};
    location = /health { return 200; }
    location / {
      proxy_pass http://gateways;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_next_upstream off;
      proxy_read_timeout 60s;
    }
  }
}`;
}
