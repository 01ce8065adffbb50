// Gateways on one Redis with numbered messages flowing between their clients all the time, so that afterwards it can
// be said of each message who got it.
//
// Each gateway has one client that sends and one that listens, all in one room. One back end publishes to the first.

import assert from "node:assert/strict";

import { within } from "../../clients/deadline.mjs";
import { startGateway } from "../../clients/harness.mjs";
import { callOptions, connectPublisher } from "../../clients/publisher.mjs";
import { residentBytes } from "./child.mjs";
import { eventually } from "./eventually.mjs";
import { Member } from "./member.mjs";

export const ROOM = "everybody";

/** Pause between two messages of one sender, in ms. */
const PAUSE_MS = 20;

/** How many messages have to arrive before it is believed that they flow. */
const FLOW = 10;

/** How long an answer about health or figures may take, in ms; a stopped process gives none. */
const PROBE_MS = 1000;

/** Status of a publish that could not leave. */
const UNAVAILABLE = 14;

/** A gateway that is looked at from outside. */
export class Watched {
  #gateway;
  #calls;

  /** Starts a gateway with `--dev` on the Redis at `url`. */
  static async start(name, url, { adapter = "redis", env = {} } = {}) {
    const variables = { ROOMCAST__ADAPTER__KIND: adapter, ROOMCAST__REDIS__URL: url };
    return new Watched(name, await startGateway({ env: { ...variables, ...env } }));
  }

  constructor(name, gateway) {
    this.name = name;
    this.#gateway = gateway;
    this.#calls = connectPublisher(gateway.grpcAddress);
  }

  get url() {
    return this.#gateway.url;
  }

  get log() {
    return this.#gateway.log;
  }

  assertAlive() {
    assert.ok(!this.#gateway.hasEnded, `${this.name} has ended:\n${this.#gateway.log}`);
  }

  /** Memory of the process in RAM, in bytes. */
  residentBytes() {
    return residentBytes(this.#gateway.pid);
  }

  /** Why it is not ready; empty when it is. Rejects when it does not answer. */
  async unready() {
    const answer = await this.#ops("/health/ready");
    const { ready, reasons } = await answer.json();
    assert.equal(answer.status, ready ? 200 : 503);
    return reasons;
  }

  /** Values of all metrics by name and labels as they are shown; rejects when it does not answer. */
  async figures() {
    const text = await (await this.#ops("/metrics")).text();
    const values = [...text.matchAll(/^(\w+(?:\{.*\})?) (\S+)$/gm)];
    return Object.fromEntries(values.map(([, name, value]) => [name, Number(value)]));
  }

  /** Broadcasts that other nodes have not got, as it counts them. */
  async lost() {
    return (await this.figures()).roomcast_redis_publishes_lost_total ?? 0;
  }

  /** For how long it has not heard all that others publish, in seconds, as it counts them. */
  async deaf() {
    return (await this.figures()).roomcast_redis_deaf_seconds;
  }

  /** Publishes to the room; rejects with the gRPC status. */
  publish(event, args) {
    return this.#unary("Publish", { message: { rooms: [ROOM], event, arguments: JSON.stringify(args) } });
  }

  /** Answer of `CountSockets` for the room: `{ sockets, coverage }`. */
  count(timeoutMs) {
    return this.#unary("CountSockets", { targets: { rooms: [ROOM] }, timeout_ms: timeoutMs });
  }

  /** All pages of `FetchSockets` for the room: `{ sockets, coverage }`. */
  async fetchSockets(timeoutMs) {
    const pages = [];
    const request = { targets: { rooms: [ROOM] }, timeout_ms: timeoutMs };
    for await (const page of this.#calls.FetchSockets(request, ...callOptions())) pages.push(page);
    return { sockets: pages.flatMap((page) => page.sockets), coverage: pages.at(-1).coverage };
  }

  signal(name) {
    process.kill(this.#gateway.pid, name);
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

  #ops(path) {
    return fetch(this.#gateway.opsUrl + path, { signal: AbortSignal.timeout(PROBE_MS) });
  }

  #unary(method, request) {
    return new Promise((resolve, reject) => {
      this.#calls[method](request, ...callOptions(), (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }
}

/** A client that sends numbers to the room without end. */
class Sender {
  /** How many were sent: the number of the next. */
  sent = 0;
  #timer;

  constructor(member, name) {
    this.member = member;
    this.name = name;
    this.gateway = member.server;
    this.#timer = setInterval(() => this.#send(), PAUSE_MS);
  }

  stop() {
    clearInterval(this.#timer);
  }

  #send() {
    // One that is not connected would keep them, and send them again when it is.
    if (!this.member.socket.connected) return;
    this.member.socket.emit("m", this.name, this.sent);
    this.sent += 1;
  }
}

/** A back end that publishes numbers without end, one after the other, and notes what it was told of each. */
class BackEnd {
  /** By number: `"published"`, or the words of the refusal. */
  outcomes = [];
  #isOver = false;
  #running;

  constructor(gateway) {
    this.gateway = gateway;
    this.#running = this.#run();
  }

  /** Numbers that were not published, and those of which that is not known, with the words for it. */
  get refused() {
    return this.outcomes.filter((outcome) => outcome !== "published");
  }

  async stop() {
    this.#isOver = true;
    await this.#running;
  }

  async #run() {
    while (!this.#isOver) {
      const number = this.outcomes.length;
      this.outcomes[number] = await this.gateway.publish("p", [number]).then(
        () => "published",
        (error) => {
          assert.equal(error.code, UNAVAILABLE, error.message);
          return error.details;
        },
      );
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

export class Fleet {
  senders = [];
  listeners = [];
  /** Senders whose gateway was killed. */
  #gone = [];

  /** Starts one gateway on each of `urls`, which lead to one Redis, and the traffic. */
  static async start(urls, options) {
    const starting = urls.map((url, index) => Watched.start(`gateway ${index + 1}`, url, options));
    const fleet = new Fleet(await Promise.all(starting), options.adapter);
    for (const gateway of fleet.gateways) await fleet.listen(gateway);
    for (const gateway of fleet.gateways) await fleet.send(gateway);
    fleet.backEnd = new BackEnd(fleet.gateways[0]);
    await fleet.flows();
    fleet.residentBefore = fleet.gateways.map((gateway) => gateway.residentBytes());
    return fleet;
  }

  constructor(gateways, adapter) {
    this.gateways = gateways;
    this.adapter = adapter;
  }

  /** A client of `gateway` that listens from now on. */
  async listen(gateway) {
    const listener = await Member.connect(gateway, `listener ${this.listeners.length}`, { rooms: [ROOM] });
    // What was on its way while it joined is not promised to it.
    listener.since = new Map(this.senders.map((sender) => [sender, sender.sent]));
    listener.sincePublish = this.backEnd ? this.backEnd.outcomes.length + 1 : 0;
    this.listeners.push(listener);
    return listener;
  }

  /** A client of `gateway` that sends from now on. */
  async send(gateway) {
    const member = await Member.connect(gateway, "sender", { rooms: [ROOM] });
    const sender = new Sender(member, `${gateway.name}, sender ${this.senders.length + this.#gone.length}`);
    this.senders.push(sender);
    return sender;
  }

  /** Waits no more for the clients of a gateway that is about to be killed. */
  forget(gateway) {
    const gone = this.senders.filter((each) => each.gateway === gateway);
    for (const sender of gone) sender.stop();
    this.#gone.push(...gone);
    this.senders = this.senders.filter((sender) => sender.gateway !== gateway);
    this.listeners = this.listeners.filter((listener) => listener.server !== gateway);
  }

  /** Resolves when messages sent from now on arrive: of each sender at each listener, or at those of its gateway. */
  async flows({ among = this.gateways, isLocal = false } = {}) {
    const senders = this.senders.filter(({ gateway }) => among.includes(gateway));
    const listeners = this.listeners.filter(({ server }) => among.includes(server));
    const wanted = new Map(senders.map((sender) => [sender, sender.sent + FLOW]));
    for (const listener of listeners) {
      for (const sender of senders) {
        if (isLocal && sender.gateway !== listener.server) continue;
        const arrives = () => numbers(listener, sender).at(-1) >= wanted.get(sender);
        await eventually(arrives, `messages of ${sender.name} at ${listener.name}`);
      }
    }
  }

  /**
   * Resolves when every gateway says it is whole again, and Redis agrees that it is. From then on nothing may be
   * lost. `redis`: the server that is asked.
   */
  async isWhole(redis) {
    for (const gateway of this.gateways) {
      await eventually(async () => (await gateway.unready()).length === 0, `${gateway.name} is ready`);
    }
    await eventually(() => this.#areSubscribed(redis), "what is wanted is subscribed, and nothing else");
    this.whole = new Map(this.senders.map((sender) => [sender, sender.sent]));
  }

  /** The rooms that have a channel: with the sharded adapter not those of single sockets. */
  #rooms() {
    if (this.adapter === "redis-sharded") return [ROOM];
    const clients = [...this.listeners, ...this.senders.map(({ member }) => member)];
    return [ROOM, ...clients.map(({ id }) => id)];
  }

  /** Whether the rooms with members are subscribed, and as many channels as the gateways want. */
  async #areSubscribed(redis) {
    const list = await channels(redis);
    const ofRooms = list.map((channel) => /^socket\.io#\/#(.+)#$/.exec(channel)?.[1]).filter(Boolean);
    // The sharded adapter answers on a channel with the name of the node, 16 hex digits.
    assert.deepEqual(ofRooms.filter((room) => !/^[0-9a-f]{16}$/.test(room)).sort(), this.#rooms().sort());
    const counts = await Promise.all(list.map((channel) => subscribers(redis, channel)));
    const figures = await Promise.all(this.gateways.map((gateway) => gateway.figures()));
    const sum = (state) => figures.reduce((all, each) => all + each[`roomcast_redis_channels{state="${state}"}`], 0);
    const subscribed = counts.reduce((all, each) => all + each, 0);
    const [wanted, inForce] = [sum("wanted"), sum("in_force")];
    return wanted === inForce && wanted === subscribed ? true : { wanted, inForce, subscribed };
  }

  /**
   * Ends the traffic and proves of all of it: in order, nothing twice, nothing lost between clients of one gateway,
   * nothing lost at all once everything was whole again, and the back end was told the truth. Gives what was lost.
   */
  async settle() {
    for (const sender of this.senders) sender.stop();
    await within(this.backEnd.stop(), "the end of the last publish");
    const loss = { sent: 0, awaited: 0, lost: 0 };
    for (const listener of this.listeners) {
      for (const sender of this.senders) await this.#prove(listener, sender, loss);
      for (const sender of this.#gone) assertInOrder(numbers(listener, sender), `${sender.name} to ${listener.name}`);
      this.#proveBackEnd(listener);
    }
    for (const gateway of this.gateways) gateway.assertAlive();
    loss.sent = this.senders.reduce((all, { sent }) => all + sent, 0);
    return loss;
  }

  async #prove(listener, sender, loss) {
    const pair = `${sender.name} to ${listener.name}`;
    const first = listener.since.get(sender) ?? 0;
    await eventually(() => numbers(listener, sender).at(-1) === sender.sent - 1, `the last, ${pair}`);
    const got = numbers(listener, sender).filter((number) => number >= first);
    assertInOrder(numbers(listener, sender), pair);
    const isLocal = listener.server === sender.gateway;
    const from = isLocal ? first : Math.max(first, this.whole.get(sender) ?? 0);
    const missed = missing(got, from, sender.sent);
    assert.deepEqual(missed, [], `${isLocal ? "local" : "whole again"}, ${pair}: missing`);
    loss.awaited += sender.sent - first;
    loss.lost += sender.sent - first - got.length;
  }

  #proveBackEnd(listener) {
    const got = listener.got("p").map(([number]) => number);
    assertInOrder(got, `back end to ${listener.name}`);
    const isLocal = listener.server === this.backEnd.gateway;
    const had = new Set(got);
    for (const [number, outcome] of this.backEnd.outcomes.entries()) {
      const what = `${number} of the back end, at ${listener.name}: ${outcome}`;
      if (/nothing was published/.test(outcome)) assert.ok(!had.has(number), `arrived: ${what}`);
      else if (isLocal && number >= listener.sincePublish) assert.ok(had.has(number), `did not arrive: ${what}`);
    }
  }

  async stop() {
    for (const sender of this.senders) sender.stop();
    await this.backEnd?.stop();
    for (const listener of this.listeners) listener.close();
    for (const { member } of this.senders) member.close();
    await Promise.all(this.gateways.map((gateway) => gateway.stop()));
  }
}

/** What `listener` got of `sender`, in order of arrival. */
function numbers(listener, sender) {
  return listener.got("m").filter(([name]) => name === sender.name).map(([, number]) => number);
}

function assertInOrder(got, pair) {
  for (const [index, number] of got.entries()) {
    assert.ok(index === 0 || number > got[index - 1], `in order and once, ${pair}: ${got[index - 1]}, ${number}`);
  }
}

/** The numbers from `from` to before `to` that `got`, which is in order, has not. */
function missing(got, from, to) {
  const had = new Set(got);
  const all = Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
  return all.filter((number) => !had.has(number));
}

/** All channels that are subscribed, exact and of shards, but those of heartbeats and of Sentinels. */
async function channels({ admin }) {
  const lists = await Promise.all(["CHANNELS", "SHARDCHANNELS"].map((list) => admin.call("PUBSUB", list)));
  return lists.flat().filter((channel) => !/^(roomcast:heartbeat:|__sentinel__:)/.test(channel));
}

async function subscribers(redis, channel) {
  return (await redis.subscribers("NUMSUB", channel)) + (await redis.subscribers("SHARDNUMSUB", channel));
}
