// docs/compatibility.md says what the tests prove, neither more nor less.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { render } from "../compatibility.mjs";
import { REPOSITORY } from "../harness.mjs";
import { plan as ofOtherLanguages } from "../other-languages/plan.mjs";
import { plan as ofGenerations } from "./plan.mjs";

const plan = () => [...ofGenerations(), ...ofOtherLanguages()];

test("the_table_of_clients_is_that_of_the_tests", () => {
  const committed = readFileSync(join(REPOSITORY, "docs/compatibility.md"), "utf8");
  const expected = render(plan().map((each) => ({ ...each, passed: true })));
  assert.equal(committed, expected, "write docs/compatibility.md again, as tests/clients/compatibility.mjs says");
});

test("a_failed_test_is_no_yes_in_the_table", () => {
  const [{ file, name }] = plan();
  const page = render([{ file, name, passed: false }, { file, name: "a_test_of_something_else", passed: true }]);
  assert.match(page, /\| FAILED \|/);
  assert.doesNotMatch(page, /\| yes \|/);
  assert.doesNotMatch(page, /something else/);
});
