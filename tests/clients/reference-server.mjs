#!/usr/bin/env node
// Node's own Socket.IO server behind the command line, environment and publish API of a gateway, as far as the
// suites here use them. For trying the suites themselves: what fails against this server is a wrong test.
//
//   ROOMCAST_GATEWAY=reference-server.mjs node --test node/
//
// It is no product: no limits, no faults reported, one process.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import { parse as parseToml } from "smol-toml";
import { Server } from "socket.io";

import { loadProto } from "./publisher.mjs";

const DEMO = resolve(fileURLToPath(import.meta.url), "../../../services/gateway/src/demo");
const DEMO_FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/app.js": ["app.js", "text/javascript; charset=utf-8"],
  "/style.css": ["style.css", "text/css; charset=utf-8"],
};

const DEV = {
  engine: { allow_eio3: true },
  namespaces: [
    {
      name: "*",
      may_join: { event: "join", rooms: ["*"] },
      may_leave: { event: "leave", rooms: ["*"] },
      events: [{ event: "*", action: "relay-to-rooms" }],
    },
  ],
};

const config = readConfig();
const web = http.createServer(serveDemo);
const io = new Server(web, engineOptions());
const calls = new grpc.Server();
const ops = http.createServer((_, answer) => answer.writeHead(200).end("ready"));

for (const rules of config.namespaces ?? []) openNamespace(rules);
calls.addService(loadProto().Publisher.service, { Publish: publish });
await Promise.all([listen(web, address("CLIENT")), listenGrpc(address("GRPC"))]);
await listen(ops, address("OPS"));

// Its way to end is not what is looked at here, and sessions left half open would hold it for 30 s.
process.once("SIGTERM", () => process.exit(0));

function readConfig() {
  const at = process.argv.indexOf("--config");
  return at < 0 ? DEV : parseToml(readFileSync(process.argv[at + 1], "utf8"));
}

function address(section) {
  const [host, port] = process.env[`ROOMCAST__${section}__LISTEN`].split(":");
  return { host, port: Number(port) };
}

function listen(server, { host, port }) {
  return new Promise((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
}

function listenGrpc({ host, port }) {
  return new Promise((resolve, reject) =>
    calls.bindAsync(`${host}:${port}`, grpc.ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
}

function engineOptions() {
  const engine = config.engine ?? {};
  const cors = config.client?.cors;
  const origins = cors?.origins;
  return {
    allowEIO3: engine.allow_eio3 ?? false,
    allowUpgrades: engine.allow_upgrades ?? true,
    transports: engine.transports ?? ["polling", "websocket"],
    pingInterval: engine.ping_interval_ms ?? 25_000,
    pingTimeout: engine.ping_timeout_ms ?? 20_000,
    upgradeTimeout: engine.upgrade_timeout_ms ?? 10_000,
    maxHttpBufferSize: engine.max_payload_bytes ?? 1_000_000,
    connectTimeout: config.limits?.connect_timeout_ms ?? 45_000,
    cors: origins && { origin: origins, credentials: cors.credentials ?? false },
    allowRequest: (request, decide) => {
      const origin = request.headers.origin;
      decide(null, !origins || !origin || origins.includes("*") || origins.includes(origin));
    },
  };
}

function openNamespace(rules) {
  const matches = pattern(rules.name);
  const namespace = rules.name.includes("*") ? io.of(matches) : io.of(rules.name);
  // A pattern never matches `/`, which always exists in Node; the rules of `*` are meant for it too.
  const all = rules.name === "*" ? [namespace, io.of("/")] : [namespace];
  for (const each of all) {
    each.use((socket, next) => next(refusal(rules, socket)));
    each.on("connection", (socket) => {
      for (const room of rules.join ?? []) socket.join(room);
      socket.onAny((event, ...args) => handleEvent(rules, socket, event, args));
    });
  }
}

function pattern(text) {
  return new RegExp(`^${text.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*")}$`, "s");
}

function refusal(rules, socket) {
  const hashes = rules.auth?.tokens;
  if (!hashes) return undefined;
  const { auth, query } = socket.handshake;
  // What clients of revision 3 have for `/`, Node leaves in the query.
  const token = socket.conn.protocol === 3 && socket.nsp.name === "/" ? query.token : auth.token;
  const hash = typeof token === "string" ? createHash("sha256").update(token).digest("hex") : "";
  return hashes.includes(hash) ? undefined : Object.assign(new Error("unauthorized"), { data: rules.refusal_data });
}

function handleEvent(rules, socket, event, args) {
  const ack = typeof args.at(-1) === "function" ? args.pop() : () => {};
  if (event === rules.may_join?.event || event === rules.may_leave?.event) {
    const [room] = args;
    if (typeof room !== "string" || room === "") {
      return ack({ status: "error", message: "the room must be a text that is not empty" });
    }
    if (event === rules.may_join.event) socket.join(room);
    else socket.leave(room);
    return ack({ status: "ok" });
  }
  const rule = rules.events?.find((each) => pattern(each.event).test(event));
  if (rule?.action !== "relay-to-rooms") return ack({ status: "error", message: "refused" });
  const rooms = [...socket.rooms].filter((room) => room !== socket.id);
  if (rooms.length > 0) socket.to(rooms).emit(event, ...args);
  return ack({ status: "ok" });
}

function publish(call, answer) {
  const { namespace, rooms, except, event, arguments: text, attachments, volatile } = call.request.message;
  const args = fillPlaceholders(JSON.parse(text || "[]"), attachments);
  let target = io.of(namespace || "/");
  if (volatile) target = target.volatile;
  // In Node no rooms means everyone, too.
  target.to(rooms).except(except).emit(event, ...args);
  answer(null, { message_id: "0".repeat(26) });
}

function fillPlaceholders(value, attachments) {
  if (value?._placeholder === true) return attachments[value.num];
  if (Array.isArray(value)) return value.map((each) => fillPlaceholders(each, attachments));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, fillPlaceholders(each, attachments)]));
}

function serveDemo(request, answer) {
  const file = DEMO_FILES[new URL(request.url, "http://localhost").pathname];
  if (!file) return answer.writeHead(404).end();
  return answer.writeHead(200, { "Content-Type": file[1] }).end(readFileSync(resolve(DEMO, file[0])));
}
