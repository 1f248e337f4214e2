import { readFileSync } from "node:fs";
import { codeOf, fromHex, toHex } from "@cloister/core";
import { expect, test } from "vitest";
import {
  combinePartials,
  decodeGroupKey,
  headerDigest,
  parseHeader,
  readOwned,
  groupPublicKey,
} from "../../src/index.ts";
import { makeVectors, readPartials, VECTORS, type ReleaseVector, type VectorFile } from "./vectors.ts";

const file = JSON.parse(readFileSync(VECTORS, "utf8")) as VectorFile;
const group = decodeGroupKey(fromHex(file.group));

test("the file is what this code makes", () => {
  expect(file).toEqual(makeVectors());
});

test("the group's recipient follows from its commitments", () => {
  expect(group.recipient).toBe(file.recipient);
});

test.each(file.cases.map((vector) => [vector.section, vector.name, vector] as const))(
  "%s: %s",
  (_section, _name, vector) => {
    expect(outcome(vector)).toEqual(vector.expect);
  },
);

test("the owner is the one the vectors name", () => {
  const header = parseHeader(fromHex(file.cases[0]?.header as string));
  expect(readOwned(header, groupPublicKey(group)).owner).toBe(file.owner);
});

function outcome(vector: ReleaseVector): ReleaseVector["expect"] {
  try {
    const header = parseHeader(fromHex(vector.header));
    const context = { orderId: file.orderId, headerDigest: headerDigest(header) };
    const verdict = combinePartials(group, header, context, readPartials(vector));
    return verdict.ok ? { fileKey: toHex(verdict.value.fileKey) } : { code: verdict.refusals[0].code };
  } catch (thrown) {
    return { code: codeOf(thrown) };
  }
}
