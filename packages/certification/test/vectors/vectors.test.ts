import { readFileSync } from "node:fs";
import { join } from "node:path";
import { simulationRoots, vendorRoots } from "@cloister/attestation";
import { codeOf, fromHex, utf8 } from "@cloister/core";
import { expect, test } from "vitest";
import {
  cosignatureTime,
  decodeIntegrityReport,
  decodeOrderReport,
  judgeInclusion,
  openOrderReport,
  parseCheckpoint,
  verifyCheckpoint,
  verifyConsistency,
  verifyOrderReport,
  verifyProof,
} from "../../src/index.ts";
import type { logVectors } from "./log.ts";
import { allVectors, vectorsFolder } from "./make.ts";
import { changeProof, type ProofCase } from "./proof.ts";
import type { reportVectors } from "./report.ts";

const read = (path: string): Buffer => readFileSync(join(vectorsFolder, path));
const readJson = <T>(path: string): T => JSON.parse(read(path).toString()) as T;
const code = (act: () => unknown): string | undefined => {
  try {
    act();
    return undefined;
  } catch (error) {
    return codeOf(error);
  }
};

test("the vectors in the repository are those that the code makes", async () => {
  const vectors = Object.entries(await allVectors());
  // The proof rests on simulated evidence, whose making may change; it must go on to verify as it stands.
  for (const [path, content] of vectors.filter(([name]) => !name.startsWith("proof-file/"))) {
    expect(read(path).equals(Buffer.from(content)), path).toBe(true);
  }
});

type Log = Awaited<ReturnType<typeof logVectors>>;
interface Path {
  name: string;
  leaf: string;
  index: number;
  oldSize: number;
  oldRoot: string;
  size: number;
  root: string;
  path: string[];
  valid: boolean;
  code?: string;
}

test("log: inclusion and consistency", () => {
  const tree = readJson<{ inclusion: Path[]; consistency: Path[] }>("log/tree.json");
  for (const { name, leaf, index, size, root, path, code: expected } of tree.inclusion) {
    const proof = { leaf: fromHex(leaf), index, size, root: fromHex(root), path: path.map(fromHex) };
    expect(judgeInclusion(proof)[0]?.code, name).toBe(expected);
  }
  for (const { name, oldSize, oldRoot, size, root, path, valid } of tree.consistency) {
    const roots = { oldRoot: fromHex(oldRoot), root: fromHex(root) };
    expect(verifyConsistency({ oldSize, size, ...roots, path: path.map(fromHex) }), name).toBe(valid);
  }
});

test("log: checkpoints", () => {
  const vectors = readJson<Log["checkpoints"]>("log/checkpoints.json");
  const log = { name: vectors.log.name, key: fromHex(vectors.log.key) };
  const witness = { name: vectors.witness.name, key: fromHex(vectors.witness.key) };
  for (const { name, note, cosigned } of vectors.valid) {
    const signed = parseCheckpoint(utf8(note));
    expect(verifyCheckpoint(signed, log), name).toBe(true);
    expect(cosignatureTime(signed, witness), name).toBe(cosigned ? vectors.witness.timeMs : undefined);
  }
  for (const { name, note, code: expected } of vectors.invalid) {
    expect(
      code(() => parseCheckpoint(utf8(note))),
      name,
    ).toBe(expected);
  }
});

test("order report: integrity reports, order reports, signed reports", () => {
  type Row = { name: string; bytes: string; valid: boolean; code?: string; opens?: boolean };
  type Rows = Record<"integrity" | "order" | "signed", Row[]> &
    Pick<ReturnType<typeof reportVectors>, "identity">;
  const vectors = readJson<Rows>("order-report/reports.json");
  for (const { name, bytes, code: expected } of vectors.integrity) {
    expect(
      code(() => decodeIntegrityReport(fromHex(bytes))),
      name,
    ).toBe(expected);
  }
  for (const { name, bytes, code: expected } of vectors.order) {
    expect(
      code(() => decodeOrderReport(fromHex(bytes))),
      name,
    ).toBe(expected);
  }
  for (const { name, bytes, valid, code: expected, opens } of vectors.signed) {
    expect(
      code(() => openOrderReport(fromHex(bytes))),
      name,
    ).toBe(expected);
    if (!valid && opens !== true) continue;
    expect(verifyOrderReport(openOrderReport(fromHex(bytes)), fromHex(vectors.identity)), name).toBe(valid);
  }
});

test.each([
  ["version 1", "simulated.proof", "cases.json", 0],
  ["version 2", "witnessed.proof", "witnessed-cases.json", 2],
])("proof file, %s: the valid one, and one changed byte in each part", (_, file, cases, witnesses) => {
  const proof = new Uint8Array(read(`proof-file/${file}`));
  const roots = [vendorRoots, simulationRoots];
  const valid = verifyProof(proof, { roots });
  expect(valid).toMatchObject({ verified: true, simulated: true });
  expect(valid.witnesses).toHaveLength(witnesses);
  for (const one of readJson<ProofCase[]>(`proof-file/${cases}`)) {
    const result = verifyProof(changeProof(proof, one), { roots });
    const links = result.links.filter((link) => !link.ok).map((link) => link.id);
    expect({ links, code: result.refusals[0]?.code }, one.name).toEqual({ links: one.links, code: one.code });
  }
});
