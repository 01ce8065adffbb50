// Declares the tests of one cluster: each operation, by each participant that can, on the same running processes.

import { after, before, describe, test } from "node:test";

import { Capture } from "./capture.mjs";
import { Cluster, stopAll } from "./cluster.mjs";
import { KINDS, OURS, startParticipant } from "./participants.mjs";
import { startRedis } from "./redis.mjs";

/** Whether gateways take part; without them, in a reference run, the participants of Node prove the cells themselves. */
export const WITH_GATEWAYS = process.env.ROOMCAST_CLUSTER_REFERENCE !== "1";

/**
 * `specs`: options of each participant by its name; ours are left out of a reference run. `operations`:
 * rows as in operations.mjs. `isSound`: of which captured messages it is asked that Node servers survive them.
 * `start`: starts Redis, if it is not a single server.
 */
export function matrix(title, { specs, operations, mode, isSound = () => true, start = startRedis }) {
  const taking = Object.entries(specs).filter(([, { kind }]) => !OURS.includes(kind) || WITH_GATEWAYS);
  describe(title, () => {
    let redis, capture, cluster;
    let participants = [];

    before(async () => {
      redis = await start();
      capture = await Capture.start(redis.servers ?? [redis]);
      const starting = taking.map(([name, spec]) => startParticipant(name, { ...spec, redis, mode }));
      participants = await Promise.all(starting);
      cluster = await Cluster.form({ redis, participants, mode });
    });

    for (const { name: operation, needs, run } of operations) {
      for (const [name, { kind }] of taking) {
        if (!needs.every((each) => KINDS[kind].can.includes(each))) continue;
        test(`${operation}, by ${name}`, () => run(cluster, named(cluster, name)));
      }
    }

    test("whatever was published would not stop a Node server", () => {
      capture.assertSound(capture.messages.filter((message) => isSound(message, cluster)));
    });

    after(async () => {
      capture?.stop();
      try {
        // Also when no cluster came of them.
        await (cluster ? cluster.dissolve() : stopAll(participants));
      } finally {
        await redis?.stop();
      }
    });
  });
}

function named(cluster, name) {
  return cluster.participants.find((participant) => participant.name === name);
}
