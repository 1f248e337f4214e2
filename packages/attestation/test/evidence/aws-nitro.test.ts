import { concat, encodeCanonical } from "@cloister/core";
import { describe, expect, test } from "vitest";
import {
  buildCertificate,
  nameOf,
  pinOf,
  usageExtensions,
  verify,
  type Claims,
  type TrustRoots,
} from "../../src/index.ts";
import { FORGED_NOW_MS } from "../forger/intel.ts";
import { forgedKey, type ForgedKey } from "../forger/keys.ts";

const HOUR_MS = 3_600_000;
const NONCE = new Uint8Array(32).fill(0x4e);
const root = forgedKey("AWS root", "P-384");
const leaf = forgedKey("AWS enclave", "P-384");
const stranger = forgedKey("a stranger to AWS", "P-384");
const roots: TrustRoots = { simulated: false, pins: { aws: [pinOf(root.publicKey)] } };
const rootName = nameOf("Forged aws.nitro-enclaves", "Forger");

interface NitroForgery {
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly pcrs?: ReadonlyMap<number, Uint8Array>;
  readonly signedBy?: ForgedKey;
  readonly leafSignedBy?: ForgedKey;
  readonly leafEndsMs?: number;
  readonly tag?: boolean;
}

function certificate(
  subject: Uint8Array,
  key: ForgedKey,
  by: ForgedKey,
  authority: boolean,
  endsMs: number,
): Uint8Array {
  return buildCertificate(
    {
      serial: new Uint8Array([authority ? 1 : 2]),
      issuer: rootName,
      subject,
      notBeforeMs: FORGED_NOW_MS - HOUR_MS,
      notAfterMs: endsMs,
      publicKey: key.publicKey,
      extensions: usageExtensions(authority ? { authority, pathLengthMax: 1 } : { authority }),
    },
    by.issuer,
  );
}

function forge(forgery: NitroForgery): Uint8Array {
  const pcrs = forgery.pcrs ?? new Map([0, 1, 2].map((index) => [index, new Uint8Array(48).fill(index + 1)]));
  const endsMs = forgery.leafEndsMs ?? FORGED_NOW_MS + HOUR_MS;
  const claims: Record<string, unknown> = {
    module_id: "i-forged-enc",
    digest: "SHA384",
    timestamp: FORGED_NOW_MS,
    pcrs,
    certificate: certificate(
      nameOf("i-forged-enc", "Forger"),
      leaf,
      forgery.leafSignedBy ?? root,
      false,
      endsMs,
    ),
    cabundle: [certificate(rootName, root, root, true, FORGED_NOW_MS + HOUR_MS)],
    public_key: null,
    user_data: null,
    nonce: NONCE,
    ...forgery.claims,
  };
  const header = encodeCanonical(new Map([[1, -35]]));
  const payload = encodeCanonical(claims);
  const signature = (forgery.signedBy ?? leaf).sign(
    encodeCanonical(["Signature1", header, new Uint8Array(0), payload]),
  );
  const document = encodeCanonical([header, new Map(), payload, signature]);
  return forgery.tag === true ? concat(new Uint8Array([0xd2]), document) : document;
}

function judge(forgery: NitroForgery, challenge?: Uint8Array) {
  const evidence = { tee: "aws-nitro", bytes: forge(forgery) } as const;
  return verify(evidence, { tee: "aws-nitro", parts: {} }, { nowMs: FORGED_NOW_MS, roots, challenge });
}

function codes(verdict: ReturnType<typeof judge>): string[] {
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
}

function claimsOf(verdict: ReturnType<typeof judge>): Claims {
  if (!verdict.ok) throw new Error(JSON.stringify(verdict.refusals));
  return verdict.value;
}

describe("Nitro documents", () => {
  test("are accepted, tagged or bare", () => {
    for (const tag of [false, true]) {
      expect(claimsOf(judge({ tag }, NONCE))).toMatchObject({ challengeVerified: true, debug: false });
    }
  });

  test("hold a challenge in the nonce or in the user data", () => {
    const challenge = new Uint8Array(64).fill(6);
    expect(codes(judge({ claims: { user_data: challenge } }, challenge))).toEqual([]);
    expect(codes(judge({}, challenge))).toEqual(["CHALLENGE_MISMATCH"]);
  });

  test("of enclaves in debug mode are claimed as such", () => {
    const zeros = new Map([0, 1, 2].map((index) => [index, new Uint8Array(48)]));
    expect(claimsOf(judge({ pcrs: zeros })).debug).toBe(true);
    expect(claimsOf(judge({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]) })).debug).toBe(true);
  });

  test.each([
    ["signed by a stranger", { signedBy: stranger }, "NITRO_SIGNATURE_INVALID"],
    ["whose certificate only carries the right names", { leafSignedBy: stranger }, "NITRO_CHAIN_BROKEN"],
    ["whose certificate expired", { leafEndsMs: FORGED_NOW_MS - 1000 }, "NITRO_CHAIN_EXPIRED"],
    ["from the future", { claims: { timestamp: FORGED_NOW_MS + HOUR_MS } }, "NITRO_FROM_THE_FUTURE"],
    ["of another hash", { claims: { digest: "SHA512" } }, "NITRO_DOCUMENT_MALFORMED"],
    ["without a bundle", { claims: { cabundle: [] } }, "NITRO_DOCUMENT_MALFORMED"],
    [
      "with a register of an odd size",
      { pcrs: new Map([[0, new Uint8Array(20)]]) },
      "NITRO_DOCUMENT_MALFORMED",
    ],
    [
      "with a register that does not exist",
      { pcrs: new Map([[32, new Uint8Array(48)]]) },
      "NITRO_DOCUMENT_MALFORMED",
    ],
    ["without registers", { pcrs: new Map() }, "NITRO_DOCUMENT_MALFORMED"],
    [
      "with a certificate that is none",
      { claims: { certificate: new Uint8Array(9) } },
      "NITRO_CHAIN_MALFORMED",
    ],
  ] as const)("%s are refused", (_, forgery, code) => {
    expect(codes(judge(forgery))).toContain(code);
  });

  test("are refused under the vendors' roots when forged", () => {
    const evidence = { tee: "aws-nitro", bytes: forge({}) } as const;
    expect(verify(evidence, { tee: "aws-nitro", parts: {} }, { nowMs: FORGED_NOW_MS })).toMatchObject({
      ok: false,
      refusals: [{ code: "NITRO_ROOT_UNKNOWN" }],
    });
  });
});
