// One Redis, its participants, and the clients of those that serve clients: what every cell of the matrix is run on.
//
// Each server has four clients: `a` in r1, `b` in r1 and r2, `c` in r2 and x, `d` in no room.

import assert from "node:assert/strict";

import { canonical } from "../../clients/kit.mjs";
import { next } from "../../clients/deadline.mjs";
import { eventually } from "./eventually.mjs";
import { Member } from "./member.mjs";

const ROLES = { a: ["r1"], b: ["r1", "r2"], c: ["r2", "x"], d: [] };

/** So many that every master of a Redis Cluster has some of their channels. */
const WARM_ROOMS = 16;

export class Cluster {
  #fresh = 0;

  /**
   * Connects the clients and waits until every message reaches them. `mode`: of the sharded adapter; without it the
   * participants have the classic one.
   */
  static async form({ redis, participants, mode }) {
    const servers = participants.filter(({ can }) => can.has("serve"));
    const connecting = servers.flatMap((server) =>
      Object.entries(ROLES).map(([role, rooms]) => Member.connect(server, role, { rooms, silent: role === "d" })),
    );
    const members = await Promise.all(connecting).catch((error) => {
      // Rather the reason why somebody ended than that a client of it waited in vain.
      for (const participant of participants) participant.assertAlive();
      throw error;
    });
    const cluster = new Cluster(redis, participants, servers, members, mode);
    await cluster.listening("", servers.length);
    const rooms = [...new Set(Object.values(ROLES).flat()), ...cluster.members.map(({ id }) => id)];
    // A join that a gateway has acknowledged is in force: here that is taken at its word, and each cell would show it.
    const nodes = servers.filter(({ kind }) => kind !== "gateway");
    for (const room of rooms) await cluster.agree(room, nodes);
    if (redis.servers) for (const each of participants) await cluster.#warm(each);
    return cluster;
  }

  constructor(redis, participants, servers, members, mode) {
    this.redis = redis;
    this.participants = participants;
    this.servers = servers;
    this.members = members;
    this.mode = mode;
  }

  /** The first messages to each master may overtake each other: Node's clients learn of them by being sent on. */
  async #warm(publisher) {
    for (let room = 0; room < WARM_ROOMS; room += 1)
      await publisher.do("emit", { event: "warm", rooms: [`warm ${room}`] });
    await this.fence(publisher);
  }

  /** A name nobody has used in this cluster. */
  fresh(prefix) {
    return `${prefix}-${this.freshNumber()}`;
  }

  /** A number nobody has used in this cluster. */
  freshNumber() {
    this.#fresh += 1;
    return this.#fresh;
  }

  /** The clients of `server`. */
  of(server) {
    return this.members.filter((member) => member.server === server);
  }

  /** The participants but `one` that can do `what`. */
  others(one, what) {
    return this.participants.filter((each) => each !== one && each.can.has(what));
  }

  /**
   * Has `publisher` emit `message`, and proves who got it: those that `isMeant` says, once each, with `args`, and
   * nobody else. `among`: the clients looked at.
   */
  async prove(publisher, message, { args = message.args ?? [], isMeant, among = this.members } = {}) {
    const event = this.fresh("cell");
    await publisher.do("emit", { ...message, event });
    await this.fence(publisher, message.rooms);
    this.assertGot(event, args, isMeant ?? ((member) => member.isIn(message.rooms, message.except)), among);
  }

  /** Proves that those of `among` whom `isMeant` says have got `event` once, with `args`, and the others never. */
  assertGot(event, args, isMeant, among = this.members) {
    const got = Object.fromEntries(among.map((each) => [each.name, canonical(each.got(event))]));
    const meant = Object.fromEntries(among.map((each) => [each.name, canonical(isMeant(each) ? [args] : [])]));
    assert.deepEqual(got, meant);
    this.assertAlive();
  }

  /**
   * Resolves when all that `publisher` emitted so far has arrived: one more message has, everywhere, and order holds.
   * In a Redis Cluster it holds per channel: with `rooms` of one room its members wait for one more there, too.
   */
  async fence(publisher, rooms = []) {
    await this.#fenceTo(publisher, []);
    if (rooms.length === 1 && this.redis.servers) await this.#fenceTo(publisher, rooms);
  }

  async #fenceTo(publisher, rooms) {
    const event = this.fresh("fence");
    const arrivals = this.members
      .filter((member) => member.isIn(rooms))
      .map(async (member) => {
        await next(member.socket, event).catch((error) => {
          throw new Error(`${member.name}: ${error.message}`);
        });
      });
    await publisher.do("emit", { event, rooms });
    await Promise.all(arrivals);
  }

  /** Resolves when all `servers` have their clients in `room` as the members say, and messages to it arrive there. */
  async agree(room, servers = this.servers) {
    const inRoom = this.members.filter((member) => member.isIn([room]));
    for (const server of servers) {
      const ids = this.of(server).map(({ id }) => id);
      const meant = canonical(
        inRoom
          .filter((each) => each.server === server)
          .map(({ id }) => id)
          .sort(),
      );
      const there = async () => {
        const known = await this.knownIn(room, server);
        return canonical(ids.filter((id) => known.includes(id)).sort()) === meant;
      };
      await eventually(there, `${server.name} has ${meant} in ${room}`);
    }
    await this.listening(room, new Set(inRoom.map(({ server }) => server)).size);
  }

  /** Ids of the sockets in `room`, at least those of `server`: its own word, or for a gateway that of a Node server. */
  async knownIn(room, server) {
    const witness = this.participants.find(({ can, kind }) => kind !== "gateway" && can.has("witness"));
    if (server.kind !== "gateway" || !witness) return server.do("members", { room });
    return (await witness.do("fetch", { rooms: [room] })).map(({ id }) => id);
  }

  /**
   * Resolves when `count` processes subscribe to what messages to `room` (empty: all) come on. Node's servers subscribe
   * to a room's shard channel some time after a join, and tell nobody when.
   */
  async listening(room, count) {
    if (!this.mode) return this.#listeningClassic(room, count);
    const isPrivate = this.members.some(({ id }) => id === room);
    const hasChannel = room === "" || (this.mode === "dynamic" && !isPrivate) || this.mode === "dynamic-private";
    if (!hasChannel) return undefined;
    const channel = room === "" ? "socket.io#/#" : `socket.io#/#${room}#`;
    const counted = async () => (await this.redis.subscribers("SHARDNUMSUB", channel)) >= count;
    return eventually(counted, `${count} subscriptions of ${channel}`);
  }

  /** Node's classic servers have one pattern for everything, and a gateway's join is confirmed when it is in force. */
  async #listeningClassic(room, count) {
    if (room !== "") return;
    const channel = "socket.io-request#/#";
    const counted = async () => (await this.redis.subscribers("NUMSUB", channel)) >= count;
    await eventually(counted, `${count} subscriptions of ${channel}`);
  }

  /** Fails if any process has ended by itself. */
  assertAlive() {
    for (const participant of this.participants) participant.assertAlive();
  }

  /** Ends everything but Redis; only then fails with the first that did not end cleanly. */
  async dissolve() {
    for (const member of this.members) member.close();
    await stopAll(this.participants);
  }
}

/** Stops all, and only then fails with the first that did not end cleanly. */
export async function stopAll(participants) {
  const ends = await Promise.allSettled(participants.map((each) => each.stop()));
  const failed = ends.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
}
