import { describe, expect, test } from "vitest";
import { digestOf, fromHex, utf8, type NodeId, type OrderId } from "@cloister/core";
import { recoverTypedDataAddress } from "viem/utils";
import {
  decodeContractError,
  goalHash,
  hashStatement,
  offerId,
  orderId,
  recoverSigner,
  recoverStatement,
  reportAnchor,
  reportAnchorSlot,
  signDigest,
  signStatement,
  typedDataOf,
} from "../src/index.ts";
import { accountOf, DEPLOYMENT, hexOf, OFFER, ORDER, secretOf } from "./samples.ts";

const VOTE = { term: 3, candidate: accountOf("node") as NodeId };
const ID = hexOf("order") as OrderId;

describe("statements", () => {
  test("are signed and recovered, as a wallet library does it", async () => {
    const signature = signStatement(DEPLOYMENT, "Vote", VOTE, secretOf("voter"));
    expect(signature).toHaveLength(65);
    expect(recoverStatement(DEPLOYMENT, "Vote", VOTE, signature)).toBe(accountOf("voter"));
    const recovered = await recoverTypedDataAddress({
      ...(typedDataOf(DEPLOYMENT, "Vote", VOTE) as unknown as Parameters<typeof recoverTypedDataAddress>[0]),
      signature: `0x${Buffer.from(signature).toString("hex")}`,
    });
    expect(recovered.toLowerCase()).toBe(accountOf("voter"));
  });

  test("hold for one chain, one contract, one kind and one content", () => {
    const signature = signStatement(DEPLOYMENT, "Vote", VOTE, secretOf("voter"));
    const signer = accountOf("voter");
    expect(recoverStatement({ ...DEPLOYMENT, chainId: 1 }, "Vote", VOTE, signature)).not.toBe(signer);
    const elsewhere = { ...DEPLOYMENT, registry: DEPLOYMENT.market };
    expect(recoverStatement(elsewhere, "Vote", VOTE, signature)).not.toBe(signer);
    expect(recoverStatement(DEPLOYMENT, "Vote", { ...VOTE, term: 4 }, signature)).not.toBe(signer);
    const revocation = { node: VOTE.candidate };
    expect(recoverStatement(DEPLOYMENT, "NodeRevocation", revocation, signature)).not.toBe(signer);
  });

  test("give offers and orders ids that depend on every member", () => {
    const otherTerms = { ...OFFER, terms: { ...OFFER.terms, runsMax: 6 } };
    const otherContent = { ...OFFER, content: { ...OFFER.content, consentDigest: digestOf(utf8("c")) } };
    expect(new Set([OFFER, otherTerms, otherContent].map((offer) => offerId(DEPLOYMENT, offer))).size).toBe(
      3,
    );
    expect(orderId(DEPLOYMENT, ORDER)).not.toBe(orderId(DEPLOYMENT, { ...ORDER, salt: 8n }));
    expect(hashStatement(DEPLOYMENT, "Order", ORDER)).toBe(orderId(DEPLOYMENT, ORDER));
    expect(orderId(DEPLOYMENT, { ...ORDER, slots: 1 })).toBe(orderId(DEPLOYMENT, ORDER));
    expect(orderId(DEPLOYMENT, { ...ORDER, slots: 2 })).not.toBe(orderId(DEPLOYMENT, ORDER));
  });

  test("refuse malformed and malleable signatures", () => {
    const digest = fromHex(ID);
    const signature = signDigest(digest, secretOf("voter"));
    expect(recoverSigner(digest, signature.subarray(0, 64))).toBeUndefined();
    expect(recoverSigner(digest, signature.with(64, 29))).toBeUndefined();
    expect(recoverSigner(digest, new Uint8Array(65).fill(0).with(64, 27))).toBeUndefined();
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const s = BigInt(`0x${Buffer.from(signature.subarray(32, 64)).toString("hex")}`);
    const high = new Uint8Array(signature);
    high.set(fromHex((order - s).toString(16).padStart(64, "0")), 32);
    high[64] = signature[64] === 27 ? 28 : 27;
    expect(recoverSigner(digest, high)).toBeUndefined();
  });
});

describe("anchors", () => {
  test("differ by order and report", () => {
    const [a, b] = [digestOf(utf8("a")), digestOf(utf8("b"))];
    expect(reportAnchor(ID, a)).not.toBe(reportAnchor(ID, b));
    expect(reportAnchor(ID, a)).not.toBe(reportAnchor(hexOf("other") as OrderId, a));
    expect(reportAnchorSlot(ID)).not.toBe(reportAnchorSlot(hexOf("other") as OrderId));
    expect(goalHash("compute")).toBe(hexOf("compute"));
  });
});

describe("errors of the contracts", () => {
  test("are named with their arguments, and others are not", () => {
    expect(decodeContractError("0xdeadbeef")).toBeUndefined();
    expect(decodeContractError("0x")).toBeUndefined();
    expect(decodeContractError("0x48f0fae6")).toEqual({ name: "DeadlineTooFar", args: [] });
  });
});
