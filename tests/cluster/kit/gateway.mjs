// A gateway as one more participant: its clients are real ones, its emits come through the publish API, and it does
// what it is asked for in the same words as the servers of `nodes/`.

import assert from "node:assert/strict";

import { startGateway, startPublisher } from "../../clients/harness.mjs";
import { callOptions, connectPublisher } from "../../clients/publisher.mjs";
import { residentBytes } from "./child.mjs";

/** How long calls over the cluster may take, in ms: what Node gives its own requests. */
const TIMEOUT_MS = 5000;

/** What it can do, in the words of kit/participants.mjs: all but hear what servers tell, and send what JSON has not. */
export const GATEWAY_CAN = [
  "serve",
  "emit",
  "except",
  "binary",
  "call",
  "fetch",
  "count",
  "move",
  "disconnect",
  "tell",
  "ask",
  "rooms",
  "report",
];

/** What a publisher can do: the same, without clients. */
export const PUBLISHER_CAN = GATEWAY_CAN.filter((each) => each !== "serve");

export class GatewayParticipant {
  kind = "gateway";
  can = new Set(GATEWAY_CAN);
  #gateway;
  #calls;

  /**
   * Starts a gateway with `--dev` on this Redis; `mode`: of the sharded adapter; `parser`: of its clients; `env`:
   * further variables.
   */
  static async start(name, { redis, adapter = "redis", mode, parser, env = {} }) {
    const variables = { ROOMCAST__ADAPTER__KIND: adapter, ROOMCAST__REDIS__URL: redis.url, ROOMCAST__NODE__NAME: name };
    if (mode) variables.ROOMCAST__ADAPTER__MODE = mode;
    if (parser) variables.ROOMCAST__CLIENT__PARSER = parser;
    const gateway = await startGateway({ env: { ...variables, ...env } });
    return new GatewayParticipant(name, gateway, parser);
  }

  /** `gateway`: the process, as the harness started it. */
  constructor(name, gateway, parser) {
    this.name = name;
    this.parser = parser;
    this.#gateway = gateway;
    this.#calls = connectPublisher(gateway.grpcAddress);
  }

  /** The calls of its publish API, as the library makes them. */
  get calls() {
    return this.#calls;
  }

  /** `host:port` of its publish API. */
  get grpcAddress() {
    return this.#gateway.grpcAddress;
  }

  get url() {
    return this.#gateway.url;
  }

  get log() {
    return this.#gateway.log;
  }

  /** The sum of a metric over its labels; 0 if it is not there. */
  async metric(name) {
    const text = await (await fetch(`${this.#gateway.opsUrl}/metrics`)).text();
    const values = text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"));
    return [...values].reduce((sum, [, value]) => sum + Number(value), 0);
  }

  /** Memory of the process in RAM, in bytes. */
  residentBytes() {
    return residentBytes(this.#gateway.pid);
  }

  /** HTTP status of the readiness check. */
  async readiness() {
    return (await fetch(`${this.#gateway.opsUrl}/health/ready`)).status;
  }

  /** Does what `nodes/server-4.mjs` does under that name. Rejects with the gRPC status. */
  do(command, argument = {}) {
    return this[`_${command}`](argument);
  }

  assertAlive() {
    assert.ok(!this.#gateway.hasEnded, `${this.name} has ended:\n${this.#gateway.log}`);
  }

  suspend() {
    process.kill(this.#gateway.pid, "SIGSTOP");
  }

  resume() {
    process.kill(this.#gateway.pid, "SIGCONT");
  }

  kill() {
    return this.#gateway.kill();
  }

  restart() {
    return this.#gateway.start();
  }

  async stop() {
    this.#calls.close();
    await this.#gateway.stop();
  }

  async _emit(message) {
    await this.#unary("Publish", { message: toMessage(message) });
  }

  /** Publishes, and gives what the nodes say became of it. */
  async _report(message) {
    const { reach } = await this.#unary("Publish", { message: toMessage(message), report: "REPORT_REACH" });
    return reach;
  }

  async _call({ timeoutMs, ...message }) {
    const parts = await this.#stream("Call", { message: toMessage(message), timeout_ms: timeoutMs });
    const { summary } = parts.at(-1);
    const given = parts.slice(0, -1).map(({ answer }) => answer);
    return {
      complete: summary.end === "CALL_END_ALL",
      answers: given.map((answer) => fromArguments(answer)[0]),
      who: given.map(({ socket_id: id, node }) => ({ id, node })),
      coverage: summary.coverage,
    };
  }

  async _fetch(targets) {
    const pages = await this.#stream("FetchSockets", { targets, timeout_ms: TIMEOUT_MS });
    assertWhole(pages.at(-1).coverage);
    return pages.flatMap((page) => page.sockets).map(toNodeSocket);
  }

  async _count(targets) {
    const { sockets, coverage } = await this.#unary("CountSockets", { targets, timeout_ms: TIMEOUT_MS });
    assertWhole(coverage);
    return Number(sockets);
  }

  async _rooms({ namespace = "/" }) {
    const rooms = [];
    let page = { next_page_token: "" };
    do {
      const request = { namespace, socket_rooms: true, page_token: page.next_page_token, timeout_ms: TIMEOUT_MS };
      page = await this.#unary("ListRooms", request);
      assertWhole(page.coverage);
      rooms.push(...page.rooms.map(({ name }) => name));
    } while (page.next_page_token !== "");
    return rooms;
  }

  async _join({ join, report, ...targets }) {
    return this.#unary("JoinRooms", { targets, rooms: [join].flat(), report });
  }

  async _leave({ leave, report, ...targets }) {
    return this.#unary("LeaveRooms", { targets, rooms: [leave].flat(), report });
  }

  async _disconnect({ close, report, ...targets }) {
    return this.#unary("DisconnectSockets", { targets, close, report });
  }

  async _tell({ namespace = "/", event, args = [] }) {
    await this.#unary("ServerSideEmit", { namespace, event, arguments: JSON.stringify(args) });
  }

  async _ask({ namespace = "/", event, args = [] }) {
    const request = { namespace, event, arguments: JSON.stringify(args), answers: true, timeout_ms: TIMEOUT_MS };
    const { answers, coverage } = await this.#unary("ServerSideEmit", request);
    assertWhole(coverage);
    for (const { node, value } of answers) assert.equal(node !== "", value === "null", `${node} answers ${value}`);
    return answers.map(({ value }) => JSON.parse(value));
  }

  /** A superset: ids of the sockets in `room` of all participants. */
  async _members({ namespace = "/", room }) {
    return (await this._fetch({ namespace, rooms: [room] })).map(({ id }) => id);
  }

  #unary(method, request) {
    return new Promise((resolve, reject) => {
      this.#calls[method](request, ...callOptions(), (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  async #stream(method, request) {
    const parts = [];
    for await (const part of this.#calls[method](request, ...callOptions())) parts.push(part);
    return parts;
  }
}

/** A publisher: the same calls, by a process without clients. */
export class PublisherParticipant extends GatewayParticipant {
  kind = "publisher";
  can = new Set(PUBLISHER_CAN);

  /** Starts one on this Redis; options as of a gateway. */
  static async start(name, { redis, adapter = "redis", mode, env = {} }) {
    const variables = { ROOMCAST__ADAPTER__KIND: adapter, ROOMCAST__REDIS__URL: redis.url };
    if (mode) variables.ROOMCAST__ADAPTER__MODE = mode;
    return new PublisherParticipant(name, await startPublisher({ env: { ...variables, ...env } }));
  }
}

function assertWhole(coverage) {
  assert.equal(coverage.partial, false, `all nodes answered: ${JSON.stringify(coverage)}`);
}

/** `roomcast.v1.Message` of an emit: bytes among the arguments become attachments. */
function toMessage({ args = [], ...message }) {
  const attachments = [];
  return { ...message, arguments: JSON.stringify(args.map((each) => cutOut(each, attachments))), attachments };
}

function cutOut(value, attachments) {
  if (ArrayBuffer.isView(value)) return { _placeholder: true, num: attachments.push(Buffer.from(value)) - 1 };
  if (Array.isArray(value)) return value.map((each) => cutOut(each, attachments));
  if (value === null || typeof value !== "object" || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, cutOut(each, attachments)]));
}

function fromArguments({ arguments: text, attachments }) {
  return JSON.parse(text, (_, value) => (value?._placeholder === true ? attachments[value.num] : value));
}

/** A socket of FetchSockets in the shape Node tells it in. */
function toNodeSocket({ id, handshake, rooms, data, node }) {
  const { issued_ms: issued, headers, query, auth, ...more } = handshake;
  return {
    id,
    handshake: {
      ...more,
      issued: Number(issued),
      headers: toObject(headers),
      query: toObject(query),
      auth: JSON.parse(auth),
    },
    rooms,
    data: JSON.parse(data),
    node,
  };
}

function toObject(pairs) {
  return Object.fromEntries(pairs.map(({ name, value }) => [name, value]));
}
