// The two connections of an adapter: with `redis` or with `ioredis`, to one server or to a Redis Cluster.

import { once } from "node:events";

import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";

/**
 * A publishing and a subscribing client. `url`: of the server; `urls`: of some nodes of a Redis Cluster instead;
 * `library`: `redis` or `ioredis`.
 */
export async function redisClients({ url, urls, library = "redis" }) {
  if (library === "ioredis") {
    const publishing = urls ? new Cluster(urls, { shardedSubscribers: true }) : new Redis(url);
    const clients = [publishing, publishing.duplicate()].map(quiet);
    // A subscription before that would make its own check of readiness fail, and with it the process.
    await Promise.all(clients.map((client) => once(client, "ready")));
    return clients;
  }
  const publishing = urls ? createCluster({ rootNodes: urls.map((each) => ({ url: each })) }) : createClient({ url });
  const clients = [publishing, publishing.duplicate()].map(quiet);
  await Promise.all(clients.map((client) => client.connect()));
  return clients;
}

/** A lost connection is not the end of the process: both libraries report it, and reconnect. */
function quiet(client) {
  return client.on("error", (error) => console.error(`redis: ${error.message}`));
}
