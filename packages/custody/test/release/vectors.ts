/**
 * The vectors of key release, made from fixed secrets. `node packages/custody/test/release/vectors.ts` writes
 * spec/vectors/key-release.json; the test checks that the file is what this code makes, and reads every case.
 */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { digestOf, fromHex, parseAddress, toHex, type Entropy } from "@cloister/core";
import {
  buildHeader,
  encodeGroupKey,
  groupRecipient,
  headerDigest,
  makePartial,
  type GroupShare,
  type Header,
  type PartialKey,
  type Stanza,
} from "../../src/index.ts";
import { encodeScalar, evaluate, multiply, Point, scalarFromWide } from "../../src/release/curve.ts";
import { createGroupKey } from "../../src/release/group.ts";

export const VECTORS = new URL("../../../../spec/vectors/key-release.json", import.meta.url);

/** One case: partial keys of some members for a header, and what comes of them. */
export interface ReleaseVector {
  readonly name: string;
  readonly section: string;
  readonly header: string;
  readonly partials: readonly { epoch: number; index: number; point: string; proof: string }[];
  /** The file key, or the code of the first refusal or error. */
  readonly expect: { readonly fileKey: string } | { readonly code: string };
}

export interface VectorFile {
  readonly group: string;
  readonly recipient: string;
  readonly owner: string;
  readonly orderId: string;
  readonly cases: readonly ReleaseVector[];
}

/** Bytes that look random and are the same every time. */
function seeded(seed: string): Entropy {
  let count = 0;
  return (length) => {
    const parts: Buffer[] = [];
    for (let got = 0; got < length; got += 32)
      parts.push(createHash("sha256").update(`${seed} ${count++}`).digest());
    return new Uint8Array(Buffer.concat(parts).subarray(0, length));
  };
}

/** Two of three members with fixed secrets, and an object sealed to them. */
function setUp() {
  const entropy = seeded("cloister key-release vectors");
  const owner = parseAddress(`0x${"ab".repeat(20)}`);
  const coefficients = [scalarFromWide(entropy(64)), scalarFromWide(entropy(64))];
  const members = [1, 2, 3].map((index) => {
    const [identityKey, wrapKey] = [entropy(32), entropy(32)];
    return { id: `node-${index}`, index, identityKey, wrapKey };
  });
  const images = coefficients.map((coefficient) => multiply(Point.BASE, coefficient));
  const group = createGroupKey(1, members, images);
  const fileKey = entropy(16);
  const header = buildHeader(groupRecipient(group.recipient, owner).wrap(fileKey, entropy), fileKey);
  const orderId = `0x${"01".repeat(32)}`;
  const partialOf = (index: number): PartialKey => {
    const secret = encodeScalar(evaluate(coefficients, index));
    const share: GroupShare = { groupId: group.groupId, epoch: 1, index, secret };
    return makePartial(group, share, header, { orderId, headerDigest: headerDigest(header) }, entropy);
  };
  return { group, owner, orderId, fileKey, header, partials: [partialOf(1), partialOf(2), partialOf(3)] };
}

export function makeVectors(): VectorFile {
  const { group, owner, orderId, fileKey, header, partials } = setUp();
  const [one, two, three] = partials as [PartialKey, PartialKey, PartialKey];
  const [wrapped, bound] = header.stanzas as [Stanza, Stanza];
  const [type, , proof] = bound.args as [string, string, string];
  const stolen = { ...bound, args: [type, `0x${"cd".repeat(20)}`, proof] };
  const grease = { args: ["grease"], body: new Uint8Array(0) };
  const rebuilt = (...stanzas: Stanza[]) => buildHeader(stanzas, fileKey);
  const opened = { fileKey: toHex(fileKey) };
  const few = { code: "RELEASE_TOO_FEW" };
  const changed = { ...one, proof: one.proof.with(0, (one.proof[0] as number) ^ 1) };
  const cases = [
    caseOf("members 1 and 2", "key-release.md §6", header, [one, two], opened),
    caseOf("members 3 and 1", "key-release.md §6", header, [three, one], opened),
    caseOf(
      "a lie beside two right ones",
      "key-release.md §6",
      header,
      [{ ...one, point: two.point }, two, three],
      opened,
    ),
    caseOf("one member", "key-release.md §6", header, [one], few),
    caseOf("one member twice", "key-release.md §6", header, [one, one], few),
    caseOf("a changed proof", "key-release.md §6.1", header, [changed, two], few),
    caseOf("another epoch", "key-release.md §1", header, [{ ...one, epoch: 2 }, two], few),
    caseOf(
      "partial keys of another header",
      "key-release.md §6.1",
      rebuilt(wrapped, bound, grease),
      [one, two],
      few,
    ),
    ...ownerCases(
      { none: rebuilt(wrapped), two: rebuilt(wrapped, bound, bound), stolen: rebuilt(wrapped, stolen) },
      [one, two],
    ),
  ];
  return { group: toHex(encodeGroupKey(group)), recipient: group.recipient, owner, orderId, cases };
}

function ownerCases(
  headers: { none: Header; two: Header; stolen: Header },
  partials: PartialKey[],
): ReleaseVector[] {
  const section = "sealed-objects.md §5";
  return [
    caseOf("no owner", section, headers.none, partials, { code: "RELEASE_OWNER_NOT_BOUND" }),
    caseOf("two owners", section, headers.two, partials, { code: "RELEASE_OWNER_NOT_BOUND" }),
    caseOf("another owner under the same proof", section, headers.stolen, partials, {
      code: "RELEASE_OWNER_FORGED",
    }),
  ];
}

function caseOf(
  name: string,
  section: string,
  header: Header,
  partials: PartialKey[],
  expected: ReleaseVector["expect"],
): ReleaseVector {
  return {
    name,
    section: `spec/${section}`,
    header: toHex(header.headerBytes),
    partials: partials.map(({ epoch, index, point, proof }) => ({
      epoch,
      index,
      point: toHex(point),
      proof: toHex(proof),
    })),
    expect: expected,
  };
}

/** A case as the functions under test take it. */
export function readPartials(vector: ReleaseVector): PartialKey[] {
  return vector.partials.map(({ epoch, index, point, proof }) => ({
    epoch,
    index,
    point: fromHex(point),
    proof: fromHex(proof),
  }));
}

if (import.meta.main) {
  const text = `${JSON.stringify(makeVectors(), null, 2)}\n`;
  writeFileSync(VECTORS, text);
  console.log(`${VECTORS.pathname} ${digestOf(new TextEncoder().encode(text))}`);
}
