// What the README tells a back end to do, as text to be run.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { REPOSITORY } from "../clients/harness.mjs";

/** What the README's examples publish to. */
const ADDRESS = /127\.0\.0\.1:50051/g;

/** The blocks of "Publish from your back end": `{ language, text }`, in order. */
function blocks() {
  const readme = readFileSync(join(REPOSITORY, "README.md"), "utf8");
  const section = readme.split("\n## ").find((text) => text.startsWith("Publish from your back end"));
  return [...section.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].map(([, language, text]) => ({ language, text }));
}

/** The lines of a console that a reader types, without the prompt; what is printed is left out. */
function typed(text) {
  const lines = text.match(/^\$ .*(?:(?<=\\)\n.*)*$/gm) ?? [];
  return lines.map((line) => line.slice(2)).join("\n");
}

/**
 * The program in `language` with the commands that stand before it, both for a server at `address`. Fails if the README
 * has none.
 */
export function example(language, address) {
  const all = blocks();
  const at = all.findIndex((block) => block.language === language);
  if (at < 1) throw new Error(`the README has no block in ${language} behind its commands`);
  return { setUp: typed(all[at - 1].text), program: all[at].text.replace(ADDRESS, address) };
}

/** The commands of the block in which `word` stands, for a server at `address`. */
export function commands(word, address) {
  const block = blocks().find(({ language, text }) => language === "console" && text.includes(word));
  if (!block) throw new Error(`the README has no commands with ${word}`);
  return typed(block.text).replace(ADDRESS, address);
}
