// A back end in Node: publishes over gRPC with the types of proto/roomcast/v1, as an application would.

import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

import { PATIENCE_MS } from "./deadline.mjs";

const PROTO = resolve(fileURLToPath(import.meta.url), "../../../proto");

/** The package `roomcast.v1` as the loader builds it: field names as in the file, numbers as strings if 64 bit. */
export function loadProto() {
  const definition = protoLoader.loadSync("roomcast/v1/publish.proto", {
    includeDirs: [PROTO],
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
  });
  return grpc.loadPackageDefinition(definition).roomcast.v1;
}

/**
 * The calls of the publish API at `address` (`host:port`), as the library makes them from the file. `options`: those of
 * the library's channel.
 */
export function connectPublisher(address, options = {}) {
  return new (loadProto().Publisher)(address, grpc.credentials.createInsecure(), options);
}

/** What every call is made with: a server just started is reached when it listens, and no call waits for ever. */
export function callOptions(patienceMs = PATIENCE_MS) {
  return [new grpc.Metadata({ waitForReady: true }), { deadline: Date.now() + patienceMs }];
}

/** Connects when first used, so it may be made before its server runs. */
export class Publisher {
  #address;
  #client = null;

  /** `address` is `host:port` of the publish API. */
  constructor(address) {
    this.#address = address;
  }

  /**
   * Publishes one message: namespace, rooms, except, event, arguments (JSON text of a list), attachments
   * (bytes or base64), volatile. Rejects with the gRPC status.
   */
  publish(message) {
    this.#client ??= connectPublisher(this.#address);
    return new Promise((resolve, reject) => {
      this.#client.Publish({ message }, ...callOptions(), (error, answer) =>
        error ? reject(error) : resolve(answer),
      );
    });
  }

  close() {
    this.#client?.close();
    this.#client = null;
  }
}
