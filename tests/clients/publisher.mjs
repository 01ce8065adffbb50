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
    this.#client ??= new (loadProto().Publisher)(this.#address, grpc.credentials.createInsecure());
    // A server that was just started again is reached as soon as it listens, not at the next back-off.
    const metadata = new grpc.Metadata({ waitForReady: true });
    const deadline = Date.now() + PATIENCE_MS;
    return new Promise((resolve, reject) => {
      this.#client.Publish({ message }, metadata, { deadline }, (error, answer) =>
        error ? reject(error) : resolve(answer),
      );
    });
  }

  close() {
    this.#client?.close();
    this.#client = null;
  }
}
