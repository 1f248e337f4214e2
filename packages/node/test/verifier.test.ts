import { simulationEndorsements, simulationRoots } from "@cloister/attestation";
import { digestFrom, type Digest } from "@cloister/core";
import { expect, test } from "vitest";
import { Verifier } from "../src/verifier.ts";

const NOW_MS = Date.UTC(2026, 5, 1);
const ONE = digestFrom(`0x${"11".repeat(32)}`);
const OTHER = digestFrom(`0x${"22".repeat(32)}`);

function world() {
  const told = { edition: "1", approved: [ONE] as Digest[] };
  const verifier = new Verifier({
    roots: simulationRoots,
    policy: { tees: ["tdx"], tcbStatuses: ["UpToDate"], simulated: "require" },
    clock: { nowMs: () => NOW_MS },
    source: {
      endorsementsFor: async (_evidence, nowMs) => simulationEndorsements(nowMs),
      edition: () => told.edition,
    },
    barred: () => [],
    approved: () => told.approved.map((measurement) => ({ measurement })),
  });
  return { told, verifier };
}

test("a policy goes by another name once the vendor rates hardware anew", () => {
  const { told, verifier } = world();
  const before = verifier.policyNow();
  told.edition = "2";
  expect(verifier.policyNow()).not.toBe(before);
});

test("a policy goes by another name once other measurements are approved", () => {
  const { told, verifier } = world();
  const before = verifier.policyNow();
  told.approved = [ONE, OTHER];
  expect(verifier.policyNow()).not.toBe(before);
});

test("the same approvals in another order are the same policy", () => {
  const { told, verifier } = world();
  told.approved = [ONE, OTHER];
  const before = verifier.policyNow();
  told.approved = [OTHER, ONE];
  expect(verifier.policyNow()).toBe(before);
});

test("evidence that is none is refused, whatever is approved", async () => {
  const { verifier } = world();
  const { refusals } = await verifier.judge({ tee: "tdx", bytes: new Uint8Array(64) }, new Uint8Array(64));
  expect(refusals).not.toEqual([]);
});
