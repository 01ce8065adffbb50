// A real Redis Cluster of six processes: the sharded adapter on it, slots that move, a master that dies.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { eventually } from "./kit/eventually.mjs";
import { WITH_GATEWAYS, matrix } from "./kit/matrix.mjs";
import { Member } from "./kit/member.mjs";
import { startParticipant } from "./kit/participants.mjs";
import { startRedisCluster } from "./kit/redis-cluster.mjs";
import { OPERATIONS } from "./operations.mjs";

/** Order holds per channel, and this operation sends on several. */
const PER_CHANNEL = OPERATIONS.filter(({ name }) => !name.includes("in order"));

for (const [mode, operations] of Object.entries({ static: OPERATIONS, dynamic: PER_CHANNEL })) {
  matrix(`redis-sharded on a Redis Cluster, ${mode}`, {
    mode,
    start: startRedisCluster,
    specs: {
      "gateway-1": { kind: "gateway", adapter: "redis-sharded" },
      "gateway-2": { kind: "gateway", adapter: "redis-sharded" },
      "server with ioredis": { kind: "server-4-sharded", adapter: "sharded", library: "ioredis" },
      "other server": { kind: "server-4-sharded", adapter: "sharded", library: "ioredis" },
    },
    operations,
  });
}

describe("subscriptions follow their slots", { skip: !WITH_GATEWAYS && "a reference run" }, () => {
  const ROOM = "followed";
  const CHANNEL = `socket.io#/#${ROOM}#`;
  let redis, gateways, member;

  before(async () => {
    redis = await startRedisCluster();
    const spec = { kind: "gateway", adapter: "redis-sharded", redis };
    gateways = await Promise.all(["one", "two"].map((name) => startParticipant(name, spec)));
    member = await Member.connect(gateways[1], "member", { rooms: [ROOM] });
  });

  after(async () => {
    member?.close();
    for (const gateway of gateways ?? []) await gateway.stop();
    await redis?.stop();
  });

  test("slots that move under traffic lose no more than until they are followed", async () => {
    print("the slot of the room moved", await trafficDuring(() => redis.moveSlotOf(CHANNEL)));
    print("the slot of the namespace moved", await trafficDuring(() => redis.moveSlotOf("socket.io#/#")));
  });

  test("a master that dies under traffic loses no more than until its replica is followed", async () => {
    const die = async () => {
      const owner = await redis.ownerOf(CHANNEL);
      await owner.kill();
      await redis.whole();
    };
    print("the master of the room died", await trafficDuring(die));
  });

  /** Publishes one message after another by the first gateway while `disturb` works, and until messages arrive again. */
  async function trafficDuring(disturb) {
    const event = `traffic-${member.seen.length}`;
    const traffic = { sent: 0, refused: 0, isOver: false };
    const flowing = publish(event, traffic);
    let begun;
    try {
      await disturb();
      begun = traffic.sent;
      const arrives = () => member.got(event).some(([number]) => number >= begun);
      await eventually(arrives, "messages arrive again");
    } finally {
      traffic.isOver = true;
      await flowing;
    }
    const got = () => member.got(event).map(([number]) => number);
    await eventually(() => got().at(-1) === traffic.sent - 1, "the last message arrives");
    const numbers = got();
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((one, other) => one - other),
      "in order, none twice",
    );
    const after = numbers.filter((number) => number >= numbers.find((each) => each >= begun));
    assert.equal(after.length, traffic.sent - after[0], "none lost once they arrive again");
    return { ...traffic, got: numbers.length };
  }

  async function publish(event, traffic) {
    while (!traffic.isOver) {
      const sending = gateways[0].do("emit", { rooms: [ROOM], event, args: [traffic.sent] });
      await sending.then(
        () => (traffic.sent += 1),
        () => (traffic.refused += 1),
      );
    }
  }
});

function print(what, { sent, refused, got }) {
  console.log(`${what}: ${sent} published, ${refused} refused, ${got} arrived, ${sent - got} lost`);
}
