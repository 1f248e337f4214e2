import { concat, toBase64, utf8 } from "@cloister/core";
import { describe, expect, test } from "vitest";
import { buildPath, judgePath, readCertificates, readCrls } from "../../src/evidence/path.ts";
import { pinOf, toPem, type Certificate } from "../../src/index.ts";
import { forgeAmd, forgedAmdKeys, forgedAmdSerials } from "../forger/amd.ts";
import { FORGED_NOW_MS } from "../forger/intel.ts";

const YEAR_MS = 365 * 86_400_000;
const parts = forgeAmd().endorsements.parts as Record<"vcek" | "authorities" | "crl", Uint8Array>;
const [ask, ark] = readCertificates(parts.authorities) as [Certificate, Certificate];
const roots = [pinOf(forgedAmdKeys.ark.publicKey)];

function judge(changes: Partial<Parameters<typeof judgePath>[0]> = {}) {
  return judgePath({
    leaf: parts.vcek,
    others: [parts.authorities],
    crls: [parts.crl],
    roots,
    nowMs: FORGED_NOW_MS,
    prefix: "TEST",
    what: "the chain",
    ...changes,
  });
}

function codes(changes: Partial<Parameters<typeof judgePath>[0]>): string[] {
  return judge(changes).refusals.map(({ code }) => code);
}

describe("bags of certificates", () => {
  test("are read from DER one after the other, and from PEM", () => {
    const pem = utf8(`a preamble\n${toPem(ask.der, ark.der)}`);
    expect(readCertificates(pem).map(({ serial }) => serial)).toEqual([ask.serial, ark.serial]);
    const crlPem = utf8(`-----BEGIN X509 CRL-----\n${toBase64(parts.crl)}\n-----END X509 CRL-----\n`);
    expect(readCrls(crlPem)).toHaveLength(1);
    expect(readCrls(concat(parts.crl, parts.crl))).toHaveLength(2);
  });

  test.each([
    ["empty", new Uint8Array(0)],
    ["without a certificate", utf8("no certificate")],
    ["of too many", concat(...Array.from({ length: 17 }, () => ask.der))],
    ["too large", new Uint8Array(300_000)],
  ])("%s are refused", (_, bytes) => {
    expect(() => readCertificates(bytes)).toThrow(
      expect.objectContaining({ code: "CERTIFICATES_MALFORMED" }),
    );
  });

  test("of revocation lists are bounded likewise", () => {
    for (const bytes of [new Uint8Array(0), concat(...Array.from({ length: 17 }, () => parts.crl))]) {
      expect(() => readCrls(bytes)).toThrow(expect.objectContaining({ code: "CERTIFICATES_MALFORMED" }));
    }
  });

  test("that are cut off are refused", () => {
    expect(() => readCertificates(ask.der.subarray(0, -1))).toThrow(
      expect.objectContaining({ code: "DER_MALFORMED" }),
    );
  });
});

describe("paths", () => {
  test("are found whatever the order, past certificates of the same name", () => {
    const impostor = forgeAmd({
      intermediate: { fields: { publicKey: forgedAmdKeys.stranger.publicKey } },
    }).endorsements.parts["authorities"] as Uint8Array;
    expect(codes({ others: [ark.der, impostor, ask.der] })).toEqual([]);
    expect(judge({ others: [ark.der, ask.der] }).path.map(({ serial }) => serial)).toHaveLength(3);
  });

  test("may come with the leaf", () => {
    expect(codes({ leaf: concat(parts.vcek, parts.authorities), others: [] })).toEqual([]);
  });

  test("that are broken are held against the time as far as they go", () => {
    const late = { others: [ask.der], nowMs: FORGED_NOW_MS + 20 * YEAR_MS };
    expect(codes(late)).toEqual(expect.arrayContaining(["TEST_CHAIN_BROKEN", "TEST_CHAIN_EXPIRED"]));
  });

  test("end where nobody signed", () => {
    expect(buildPath(ask, [])).toEqual([ask]);
    expect(codes({ others: [ask.der] })).toEqual(["TEST_CHAIN_BROKEN"]);
    expect(codes({ others: [ark.der] })).toContain("TEST_CHAIN_BROKEN");
  });

  test("do not end in a leaf that signed itself", () => {
    expect(codes({ leaf: ark.der, others: [] })).toContain("TEST_CHAIN_BROKEN");
  });

  test("under other roots, and at other times, are judged anew", () => {
    expect(codes({})).toEqual([]);
    expect(codes({ roots: [] })).toEqual(["TEST_ROOT_UNKNOWN"]);
    expect(codes({ nowMs: FORGED_NOW_MS - 2 * YEAR_MS })).toContain("TEST_CHAIN_EXPIRED");
    expect(codes({ nowMs: FORGED_NOW_MS + 2 * YEAR_MS })).toContain("TEST_CRL_EXPIRED");
    expect(codes({})).toEqual([]);
  });
});

describe("revocation", () => {
  test("counts as checked with a list of the authority, not with another's", () => {
    expect(judge().revocationChecked).toBe(true);
    expect(judge({ crls: [] }).revocationChecked).toBe(false);
    const other = forgeAmd({ product: "genoa" }).endorsements.parts["crl"] as Uint8Array;
    expect(judge({ crls: [other] })).toMatchObject({ revocationChecked: false, refusals: [] });
  });

  test("by any of the lists counts", () => {
    const revoking = forgeAmd({ crl: { revoked: [forgedAmdSerials.intermediate] } }).endorsements.parts[
      "crl"
    ];
    expect(codes({ crls: [parts.crl, revoking as Uint8Array] })).toEqual(["TEST_CERTIFICATE_REVOKED"]);
  });
});
