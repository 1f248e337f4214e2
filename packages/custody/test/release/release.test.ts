import { digestOf, parseAddress, parseHex32, type Digest } from "@cloister/core";
import { describe, expect, test } from "vitest";
import {
  buildHeader,
  collect,
  combinePartials,
  consentDigest,
  encodeConsent,
  generateIdentity,
  groupRecipient,
  headerDigest,
  judgeRelease,
  makePartial,
  openWithFileKey,
  parseHeader,
  parseRecipient,
  readSealed,
  recipientDigest,
  releaseReportData,
  seal,
  unwrapPartial,
  wrapPartial,
  type ConsentPolicy,
  type GroupShare,
  type Header,
  type PartialKey,
  type ReleaseFacts,
  type ReleaseRequest,
  type Stanza,
} from "../../src/index.ts";
import { createNodes, entropy, generateGroup } from "./group.ts";

const OWNER = parseAddress(`0x${"ab".repeat(20)}`);
const THIEF = parseAddress(`0x${"cd".repeat(20)}`);
const nodes = createNodes(5);
const room = generateGroup(nodes, 3);
const group = room.group();
const shares = room.shares();
const shareAt = (i: number) => shares[i] as GroupShare;
const loader = generateIdentity(entropy);
const plaintext = entropy(100_000);
const sealed = await collect(seal([plaintext], [groupRecipient(group.recipient, OWNER)], entropy));
const header = parseHeader(sealed);
const context = { orderId: "0x01", headerDigest: headerDigest(header) };
const partialOf = (i: number): PartialKey => makePartial(group, shareAt(i), header, context, entropy);

describe("partial keys", () => {
  test("three of five open what was sealed to the group, in any combination", async () => {
    for (const chosen of [
      [0, 1, 2],
      [4, 2, 0],
      [1, 3, 4],
      [0, 1, 2, 3, 4],
    ]) {
      const partials = chosen.map((i) => {
        const wrapped = wrapPartial(partialOf(i), loader.recipient.publicKey, context, entropy);
        return unwrapPartial(wrapped, loader.secret, context);
      });
      const verdict = combinePartials(group, header, context, partials);
      if (!verdict.ok) throw new Error(verdict.refusals[0].reason);
      const flow = openWithFileKey(await readSealed([sealed]), verdict.value.fileKey);
      expect(digestOf(await collect(flow))).toBe(digestOf(plaintext));
    }
  });

  test("two are too few, also when one of them comes twice", () => {
    const partials = [partialOf(0), partialOf(1), partialOf(1)];
    expect(combinePartials(group, header, context, partials)).toMatchObject({
      ok: false,
      refusals: [{ code: "RELEASE_TOO_FEW" }],
    });
  });

  test("a lying member is named, and the others still open", () => {
    const lie = { ...partialOf(0), point: partialOf(1).point };
    const verdict = combinePartials(group, header, context, [lie, partialOf(1), partialOf(2), partialOf(3)]);
    expect(verdict).toMatchObject({
      ok: true,
      value: { liars: [{ code: "RELEASE_PARTIAL_INVALID", reason: expect.stringContaining("node-1") }] },
    });
  });

  test.each<[string, string, (partial: PartialKey) => PartialKey]>([
    [
      "RELEASE_PARTIAL_INVALID",
      "no point",
      (partial) => ({ ...partial, point: new Uint8Array(32).fill(255) }),
    ],
    [
      "RELEASE_PARTIAL_INVALID",
      "the identity",
      (partial) => ({ ...partial, point: Uint8Array.of(1, ...new Uint8Array(31)) }),
    ],
    [
      "RELEASE_PARTIAL_INVALID",
      "a changed proof",
      (partial) => ({ ...partial, proof: partial.proof.map((byte, i) => (i === 40 ? byte ^ 1 : byte)) }),
    ],
    [
      "RELEASE_PARTIAL_INVALID",
      "a short proof",
      (partial) => ({ ...partial, proof: partial.proof.subarray(1) }),
    ],
    ["RELEASE_PARTIAL_INVALID", "another's index", (partial) => ({ ...partial, index: 2 })],
    ["RELEASE_PARTIAL_INVALID", "nobody's index", (partial) => ({ ...partial, index: 77 })],
    ["RELEASE_EPOCH_MIXED", "another epoch", (partial) => ({ ...partial, epoch: 9 })],
  ])("%s: %s", (code, _, change) => {
    const verdict = combinePartials(group, header, context, [
      change(partialOf(0)),
      partialOf(2),
      partialOf(3),
    ]);
    expect(verdict.ok ? [] : verdict.refusals.map((refusal) => refusal.code)).toContain(code);
  });

  test("one made for another order or object does not count", () => {
    for (const other of [
      { ...context, orderId: "0x02" },
      { ...context, headerDigest: digestOf(entropy(4)) },
    ]) {
      const partials = [0, 1, 2].map((i) => makePartial(group, shareAt(i), header, other, entropy));
      expect(combinePartials(group, header, context, partials).ok).toBe(false);
    }
  });

  test("a wrapped one opens with the loader's key for its order only", () => {
    const wrapped = wrapPartial(partialOf(0), loader.recipient.publicKey, context, entropy);
    const malformed = expect.objectContaining({ code: "RELEASE_ANSWER_MALFORMED" });
    expect(() => unwrapPartial(wrapped, generateIdentity(entropy).secret, context)).toThrow(malformed);
    expect(() => unwrapPartial(wrapped, loader.secret, { ...context, orderId: "0x02" })).toThrow(malformed);
    expect(() =>
      unwrapPartial(
        wrapped.map((byte, i) => (i === 60 ? byte ^ 1 : byte)),
        loader.secret,
        context,
      ),
    ).toThrow(malformed);
    expect(() => unwrapPartial(new Uint8Array(10), loader.secret, context)).toThrow(malformed);
  });

  test("a share of another group or epoch is not used", () => {
    for (const change of [
      { epoch: 2 },
      { groupId: digestOf(entropy(4)) },
      { secret: new Uint8Array(32).fill(255) },
    ]) {
      expect(() => makePartial(group, { ...shareAt(0), ...change }, header, context, entropy)).toThrow(
        expect.objectContaining({ code: "RELEASE_SHARE_MALFORMED" }),
      );
    }
  });
});

describe("the owner stanza", () => {
  const codeOfMaking = (of: Header) => {
    try {
      makePartial(group, shareAt(0), of, context, entropy);
      return "served";
    } catch (thrown) {
      return (thrown as { code: string }).code;
    }
  };
  const rebuilt = (stanzas: readonly Stanza[]) => buildHeader(stanzas, entropy(16));
  const [wrapped, binding] = header.stanzas as [Stanza, Stanza];

  test("is needed: a bare stanza that anyone could have copied is not served", () => {
    const bare = buildHeader(parseRecipient(group.recipient).wrap(entropy(16), entropy), entropy(16));
    expect(codeOfMaking(bare)).toBe("RELEASE_OWNER_NOT_BOUND");
  });

  test("cannot be given another owner, share or proof", () => {
    const [type, owner, proof] = binding.args as [string, string, string];
    const foreign = parseHeader(
      buildHeader(groupRecipient(group.recipient, THIEF).wrap(entropy(16), entropy), entropy(16)).headerBytes,
    );
    const theirs = foreign.stanzas[1] as Stanza;
    for (const stanzas of [
      [wrapped, { ...binding, args: [type, THIEF, proof] }],
      [wrapped, { ...binding, args: [type, THIEF, theirs.args[2] as string] }],
      [wrapped, theirs],
      [wrapped, { ...binding, body: theirs.body }],
      [wrapped, { ...binding, args: [type, owner.toUpperCase(), proof] }],
      [wrapped, { ...binding, args: [type, owner] }],
      [wrapped, { ...binding, args: [type, owner, "!"] }],
      [binding],
    ]) {
      expect(codeOfMaking(rebuilt(stanzas))).toBe("RELEASE_OWNER_FORGED");
    }
    expect(codeOfMaking(rebuilt([wrapped, binding, binding]))).toBe("RELEASE_OWNER_NOT_BOUND");
    expect(codeOfMaking(rebuilt([wrapped, binding]))).toBe("served");
  });

  test("does not carry over to another group", () => {
    const other = generateGroup(createNodes(1), 1);
    const [share] = other.shares() as [GroupShare];
    expect(() => makePartial(other.group(), share, header, context, entropy)).toThrow(
      expect.objectContaining({ code: "RELEASE_OWNER_FORGED" }),
    );
  });

  test("of a stanza that is not for the group leads nowhere", () => {
    const [stanza] = generateIdentity(entropy).recipient.wrap(entropy(16), entropy);
    const swapped = { args: [...(wrapped.args as string[])], body: (stanza as Stanza).body };
    const mixed = rebuilt([swapped, binding]);
    const own = { ...context, headerDigest: headerDigest(mixed) };
    const partials = [0, 1, 2].map((i) => makePartial(group, shareAt(i), mixed, own, entropy));
    expect(combinePartials(group, mixed, own, partials)).toMatchObject({
      ok: false,
      refusals: [{ code: "RELEASE_NOT_SEALED_TO_GROUP" }],
    });
  });
});

describe("a member's judgement", () => {
  const NODE = parseAddress(`0x${"0a".repeat(20)}`);
  const market = { chainId: 31337, contract: parseAddress(`0x${"0c".repeat(20)}`) };
  const orderId = parseHex32(`0x${"01".repeat(32)}`);
  const offerId = parseHex32(`0x${"02".repeat(32)}`);
  const nonce = entropy(32);
  const wrapKey = loader.recipient.publicKey;
  const engine = digestOf(entropy(4));
  const measurement = digestOf(entropy(4));
  const recipient = recipientDigest(loader.recipient.text);
  const policy: ConsentPolicy = {
    version: 1,
    engines: [engine],
    purposes: ["train"],
    runsMax: 1,
    outputBytesMax: 1000,
    egress: "none",
  };
  const request: ReleaseRequest = {
    orderId,
    offerId,
    nonce,
    wrapKey,
    epoch: 1,
    headerBytes: header.headerBytes,
    consentBytes: encodeConsent(policy),
  };
  const claims = {
    tee: "tdx",
    simulated: true,
    measurement,
    reportData: releaseReportData(orderId, nonce, wrapKey),
  };
  const facts: ReleaseFacts = {
    nowMs: 1000,
    group,
    challenge: { nonce, expiresAtMs: 2000 },
    appraisal: { refusals: [], claims },
    allowSimulated: true,
    order: { isOpen: true, deadlineMs: 5000, node: NODE, offerIds: [offerId] },
    offer: { owner: OWNER, headerDigest: headerDigest(header), consentDigest: consentDigest(policy) },
    planned: {
      engine,
      purpose: "train",
      runsUsed: 0,
      outputBytesMax: 1000,
      recipientDigest: recipient,
      egress: "none",
      node: NODE,
      market,
    },
  };
  const codes = (asked: Partial<ReleaseRequest>, known: Partial<ReleaseFacts> = {}) => {
    const verdict = judgeRelease({ ...request, ...asked }, { ...facts, ...known });
    return verdict.ok ? [] : verdict.refusals.map((refusal) => refusal.code);
  };
  const order = facts.order as NonNullable<ReleaseFacts["order"]>;
  const offer = facts.offer as NonNullable<ReleaseFacts["offer"]>;

  test("a right request is served, for what was asked", () => {
    const verdict = judgeRelease(request, facts);
    expect(verdict).toMatchObject({
      ok: true,
      value: { context: { orderId, headerDigest: headerDigest(header) }, wrapKey },
    });
  });

  test.each<[string, Partial<ReleaseRequest>, Partial<ReleaseFacts>]>([
    ["RELEASE_EPOCH_OTHER", { epoch: 2 }, {}],
    ["RELEASE_CHALLENGE_UNKNOWN", {}, { challenge: undefined }],
    ["RELEASE_CHALLENGE_EXPIRED", {}, { nowMs: 2001 }],
    ["RELEASE_EVIDENCE_MISSING", {}, { appraisal: { refusals: [] } }],
    [
      "TDX_SIGNATURE_INVALID",
      {},
      { appraisal: { refusals: [{ code: "TDX_SIGNATURE_INVALID", reason: "forged" }] } },
    ],
    ["RELEASE_EVIDENCE_NOT_BOUND", { wrapKey: generateIdentity(entropy).recipient.publicKey }, {}],
    ["RELEASE_SIMULATED", {}, { allowSimulated: false }],
    ["RELEASE_ORDER_UNKNOWN", {}, { order: undefined }],
    ["RELEASE_ORDER_CLOSED", {}, { order: { ...order, isOpen: false } }],
    ["RELEASE_ORDER_OVERDUE", {}, { order: { ...order, deadlineMs: 999 } }],
    ["RELEASE_NODE_NOT_ASSIGNED", {}, { order: { ...order, node: THIEF } }],
    ["RELEASE_OFFER_NOT_ORDERED", {}, { order: { ...order, offerIds: [] } }],
    ["RELEASE_OFFER_UNKNOWN", {}, { offer: undefined }],
    ["RELEASE_HEADER_OTHER", {}, { offer: { ...offer, headerDigest: digestOf(entropy(4)) } }],
    ["RELEASE_OWNER_OTHER", {}, { offer: { ...offer, owner: THIEF } }],
    ["RELEASE_CONSENT_MISSING", {}, { offer: { ...offer, consentDigest: undefined } }],
    ["RELEASE_CONSENT_OTHER", { consentBytes: encodeConsent({ ...policy, runsMax: 9 }) }, {}],
    ["CONSENT_ENGINE_NOT_LISTED", {}, { planned: { ...facts.planned, engine: digestOf(entropy(4)) } }],
    ["CONSENT_RUNS_EXHAUSTED", {}, { planned: { ...facts.planned, runsUsed: 1 } }],
  ])("%s and nothing else", (code, asked, known) => {
    expect(codes(asked, known)).toEqual([code]);
  });

  test("a thief's own offer over another's object is refused whatever its consent says", () => {
    const theirs: ConsentPolicy = { ...policy, engines: [digestOf(entropy(4))] };
    const offered = {
      owner: THIEF,
      headerDigest: headerDigest(header),
      consentDigest: consentDigest(theirs),
    };
    const planned = { ...facts.planned, engine: theirs.engines[0] as Digest };
    expect(codes({ consentBytes: encodeConsent(theirs) }, { offer: offered, planned })).toEqual([
      "RELEASE_OWNER_OTHER",
    ]);
  });

  test("a header with anything behind it, or none, is refused with a code", () => {
    expect(codes({ headerBytes: sealed })).toEqual(["RELEASE_HEADER_OTHER"]);
    expect(codes({ headerBytes: new Uint8Array(0) })).toEqual(["SEALED_TRUNCATED"]);
    expect(codes({ headerBytes: entropy(100) })).toEqual(["SEALED_NOT_AGE"]);
    expect(codes({ consentBytes: entropy(10) })).toEqual(["RELEASE_CONSENT_OTHER", "CONSENT_MALFORMED"]);
  });

  test("all reasons come at once", () => {
    expect(codes({ epoch: 2 }, { nowMs: 9000, challenge: undefined })).toEqual([
      "RELEASE_EPOCH_OTHER",
      "RELEASE_CHALLENGE_UNKNOWN",
      "RELEASE_ORDER_OVERDUE",
    ]);
  });
});
