import { digestOf, parseAddress } from "@cloister/core";
import { expect, test } from "vitest";
import {
  combinePartials,
  collect,
  generateIdentity,
  groupRecipient,
  headerDigest,
  makePartial,
  openWithFileKey,
  parseRecipient,
  readSealed,
  seal,
  unwrapPartial,
  wrapPartial,
  type Header,
} from "../../src/index.ts";
import { createNodes, entropy, generateGroup } from "./group.ts";

const OWNER = parseAddress(`0x${"ab".repeat(20)}`);
const nodes = createNodes(5);
const room = generateGroup(nodes, 3);
const group = room.group();
const shares = room.shares();
const plaintext = entropy(100_000);

function contextOf(header: Header) {
  return { orderId: "0x01", headerDigest: headerDigest(header) };
}

test("three of five open what was sealed to the group, in any combination", async () => {
  const sealed = await collect(seal([plaintext], [groupRecipient(group.recipient, OWNER)], entropy));
  for (const chosen of [
    [0, 1, 2],
    [4, 2, 0],
    [1, 3, 4],
    [0, 1, 2, 3, 4],
  ]) {
    const reader = await readSealed([sealed]);
    const context = contextOf(reader.header);
    const loader = generateIdentity(entropy);
    const partials = chosen.map((i) => {
      const partial = makePartial(group, shares[i] as never, reader.header, context, entropy);
      const wrapped = wrapPartial(partial, loader.recipient.publicKey, context, entropy);
      return unwrapPartial(wrapped, loader.secret, context);
    });
    const verdict = combinePartials(group, reader.header, context, partials);
    if (!verdict.ok) throw new Error(verdict.refusals[0].reason);
    expect(digestOf(await collect(openWithFileKey(reader, verdict.value.fileKey)))).toBe(digestOf(plaintext));
  }
});
