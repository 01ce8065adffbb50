// HTTP and WebSocket without a Socket.IO client: what goes over the wire, and nothing that a library would mend.

import { once } from "node:events";
import http from "node:http";
import net from "node:net";

import { WebSocket } from "ws";

import { next, within } from "../deadline.mjs";

const OPEN_PATH = "/socket.io/?EIO=4&transport=polling";

/** One request; `{ status, headers, body }`. Neither a body nor a Content-Type that was not asked for is sent. */
export function request(port, path, { method = "GET", headers = {}, body } = {}) {
  const answer = new Promise((resolve, reject) => {
    const sent = http.request({ host: "127.0.0.1", port, path, method, headers, agent: false });
    sent.once("error", reject).once("response", async (response) => {
      const parts = [];
      for await (const part of response) parts.push(part);
      resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString() });
    });
    sent.end(body);
  });
  return within(answer, `${method} ${path}`);
}

/** Opens a polling session; its sid, and the path of its requests. */
export async function openPolling(port, extra = "") {
  const { body } = await request(port, OPEN_PATH + extra);
  const { sid } = JSON.parse(body.slice(1));
  return { sid, path: `${OPEN_PATH}&sid=${sid}` };
}

/** Opens a WebSocket session or upgrade; the socket and a list that its messages fill, from the first. */
export async function openWebSocket(port, query = "EIO=4&transport=websocket") {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?${query}`);
  const messages = [];
  socket.on("message", (data, isBinary) => messages.push(isBinary ? data : data.toString()));
  await next(socket, "open");
  return { socket, messages };
}

/** The close code that ends `socket`. */
export async function closeCode(socket) {
  const [code] = await next(socket, "close");
  return code;
}

/** Sends bytes as they are and reads until the server ends the connection. */
export async function exchange(port, text) {
  const socket = net.connect(port, "127.0.0.1");
  const parts = [];
  socket.on("data", (part) => parts.push(part));
  socket.on("error", () => {});
  const closed = once(socket, "close");
  socket.write(text, "latin1");
  await within(closed, "the end of the connection");
  return Buffer.concat(parts).toString("latin1");
}

/** An upgrade request as text; `headers` replace or (with null) remove what it has. */
export function upgradeRequest(path, headers = {}) {
  const all = {
    Host: "127.0.0.1",
    Upgrade: "websocket",
    Connection: "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== null);
  return `GET ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}
