import { simulationRoots, vendorRoots } from "@cloister/attestation";
import { describe, expect, test } from "vitest";
import { decodeProof, encodeProof, verifyProof, type ProofOptions } from "../../src/index.ts";
import { NOW_MS, realm } from "../world.ts";
import { forgeProof, witnessOf, type Twist } from "./forger.ts";

const roots = [vendorRoots, simulationRoots];
const ABC = ["a", "b", "c"];
async function verdictOf(twist: Twist, options: ProofOptions = {}) {
  const { bytes } = await forgeProof(twist);
  const result = verifyProof(bytes, { roots, realm, ...options });
  const broken = result.links.filter(({ ok }) => !ok).map(({ id }) => id);
  return { bytes, result, broken, codes: result.refusals.map(({ code }) => code) };
}

describe("a proof states who witnessed the log", () => {
  test("all, or as many as are due", async () => {
    for (const cosigners of [ABC, ["a", "b"], ["c", "a"]]) {
      const { result, bytes } = await verdictOf({ witnesses: ABC, cosigners });
      expect(result.refusals).toEqual([]);
      const nodes = cosigners.toSorted().map((name) => witnessOf(name).node);
      expect(result.witnesses.map(({ node }) => node)).toEqual(nodes);
      const { detail = "" } = result.links.find(({ id }) => id === "log") ?? {};
      expect(detail).toContain(
        `${cosigners.length} of its 3 witnesses co-signed that tree by 2026-11-21 12:01:30`,
      );
      for (const node of nodes) expect(detail).toContain(node);
      expect(bytes.length).toBeLessThan(65_536);
    }
  });

  test("a log whose authority names none says that nobody vouches for it", async () => {
    const { result } = await verdictOf({});
    expect(result).toMatchObject({ verified: true, witnesses: [] });
    expect(result.links.find(({ id }) => id === "log")?.detail).toContain("names no witnesses");
  });

  test("a proof of the first version is read as before", async () => {
    const { parts } = await forgeProof();
    const old = encodeProof({ ...parts, format: "cloister-proof/1" });
    expect(decodeProof(old).format).toBe("cloister-proof/1");
    expect(verifyProof(old, { roots }).verified).toBe(true);
    expect(decodeProof(encodeProof(parts)).format).toBe("cloister-proof/2");
    expect(() => encodeProof({ ...parts, format: "cloister-proof/3" as never })).toThrow(
      expect.objectContaining({ code: "PROOF_MALFORMED" }),
    );
  });
});

describe("a proof is refused at the log", () => {
  const missing: [string, Twist, ProofOptions][] = [
    ["one too few", { witnesses: ABC, cosigners: ["b"] }, {}],
    ["none at all", { witnesses: ABC, cosigners: [] }, {}],
    ["fewer than the reader asks for", { witnesses: ABC, cosigners: ["a", "b"] }, { witnessesMin: 3 }],
    ["none named, and the reader asks for one", {}, { witnessesMin: 1 }],
  ];
  test.each(missing)("when there are too few witnesses: %s", async (_, twist, options) => {
    const { broken, codes, result } = await verdictOf(twist, options);
    expect([broken, codes, result.witnesses]).toEqual([["log"], ["LOG_WITNESSES_MISSING"], []]);
  });

  test.each<[string, Twist]>([
    ["a stranger co-signed as well", { witnesses: ABC, cosigners: [...ABC, "x"] }],
    ["a witness stands there twice", { witnesses: ABC, cosigners: ["a", "a", "b"] }],
    ["somebody co-signed a log without witnesses", { cosigners: ["a"] }],
  ])("when it holds what nobody can check: %s", async (_, twist) => {
    const { broken, codes } = await verdictOf(twist);
    expect([broken, codes]).toEqual([["log"], ["PROOF_CHECKPOINT_INVALID"]]);
  });

  test("when witnesses co-signed before the report was there, or after the reader's time", async () => {
    const early = await verdictOf({ witnesses: ABC, cosignedAtMs: NOW_MS - 3_600_000 });
    const late = await verdictOf(
      { witnesses: ABC, cosignedAtMs: NOW_MS + 7_200_000 },
      { nowMs: NOW_MS + 300_000 },
    );
    for (const { broken, codes } of [early, late]) {
      expect([broken, codes]).toEqual([["log"], ["PROOF_TIME_MISMATCH"]]);
    }
  });

  test("when it calls itself the first version to get rid of its witnesses", async () => {
    const { parts } = await forgeProof({ witnesses: ABC, cosigners: [] });
    const result = verifyProof(encodeProof({ ...parts, format: "cloister-proof/1" }), { roots });
    expect(result.refusals.map(({ code }) => code)).toEqual(["LOG_WITNESSES_MISSING"]);
  });

  test("when the witnesses are other ones than the members' evidence binds", async () => {
    const { parts } = await forgeProof({ witnesses: ABC });
    const other = await forgeProof({ witnesses: ["d", "e", "f"] });
    const mixed = encodeProof({ ...parts, authority: other.parts.authority });
    expect(verifyProof(mixed, { roots }).refusals.map(({ code }) => code)).toContain(
      "PROOF_CHECKPOINT_INVALID",
    );
  });
});
