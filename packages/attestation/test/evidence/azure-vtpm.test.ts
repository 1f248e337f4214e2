import { concat, fromBase64, sha256, toBase64, utf8 } from "@cloister/core";
import { describe, expect, test } from "vitest";
import {
  detectTee,
  parseAzureJson,
  simulatedSnpEvidence,
  createSimulatedSnpPlatform,
  simulationRoots,
  simulationSnpEndorsements,
  tpmNonce,
  verify,
  type Endorsements,
  type Evidence,
} from "../../src/index.ts";
import { parseTpmQuote } from "../../src/evidence/azure-vtpm/tpm-quote.ts";
import { FORGED_NOW_MS } from "../forger/intel.ts";

/** An RSA key pair of node:crypto: the vTPM's. */
import { generateKeyPairSync, sign } from "node:crypto";

const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const { n, e } = publicKey.export({ format: "jwk" });
const platform = createSimulatedSnpPlatform(new Uint8Array(32).fill(5));
const NONCE = utf8("a challenge");
const PCRS = Array.from({ length: 24 }, (_, i) => new Uint8Array(32).fill(i));

interface AzureForgery {
  readonly runtimeKey?: Record<string, unknown>;
  readonly reportData?: Uint8Array;
  readonly pcrs?: readonly Uint8Array[];
  readonly pcrDigest?: Uint8Array;
  readonly nonce?: Uint8Array;
  readonly alter?: (parts: { quote: Uint8Array; signature: Uint8Array; hcl: Uint8Array }) => void;
  readonly tee?: "azure-vtpm-snp" | "azure-vtpm-tdx";
  readonly debug?: boolean;
  readonly signature?: "bare" | "structure";
}

function forge(forgery: AzureForgery): { evidence: Evidence; endorsements: Endorsements } {
  const key = forgery.runtimeKey ?? { kid: "HCLAkPub", kty: "RSA", n, e };
  const runtime = utf8(JSON.stringify({ keys: [key], "user-data": "AB" }));
  const bound = concat(sha256(runtime), new Uint8Array(32));
  const report = simulatedSnpEvidence(platform, {
    measurement: new Uint8Array(48).fill(1),
    reportData: forgery.reportData ?? bound,
    ...(forgery.debug === undefined ? {} : { debug: forgery.debug }),
  });
  const hcl = concat(
    utf8("HCLA"),
    new Uint8Array(28),
    report.bytes,
    new Uint8Array(8),
    u32le(2),
    u32le(1),
    u32le(runtime.length),
    runtime,
    new Uint8Array(100),
  );
  const pcrs = forgery.pcrs ?? PCRS;
  const nonce = forgery.nonce ?? NONCE;
  const quote = concat(
    new Uint8Array([0xff, 0x54, 0x43, 0x47, 0x80, 0x18, 0, 2, 0, 0x0b]),
    new Uint8Array([0, nonce.length]),
    nonce,
    new Uint8Array(25),
    new Uint8Array([0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0xff, 0, 32]),
    forgery.pcrDigest ?? sha256(concat(...PCRS)),
  );
  const bare = new Uint8Array(sign("sha256", quote, privateKey));
  const structured = concat(new Uint8Array([0, 0x14, 0, 0x0b, bare.length >> 8, bare.length & 0xff]), bare);
  const signature = forgery.signature === "structure" ? structured : bare;
  forgery.alter?.({ quote, signature, hcl });
  const tee = forgery.tee ?? "azure-vtpm-snp";
  const parts = { quote, signature, pcrs: concat(...pcrs) };
  const table = platform.certificateTable;
  const { authorities, crl } = simulationSnpEndorsements(FORGED_NOW_MS).parts as Record<string, Uint8Array>;
  // The VCEK's place in the table: the first certificate, after four entries of 24 bytes.
  const vcek = table.subarray(96, 96 + new DataView(table.buffer, table.byteOffset).getUint32(20, true));
  const endorsed = Object.fromEntries(
    Object.entries({ vcek, authorities, crl }).flatMap(([name, part]) =>
      part === undefined ? [] : [[name, part]],
    ),
  ) as Record<string, Uint8Array>;
  return { evidence: { tee, bytes: hcl, parts }, endorsements: { tee, parts: endorsed } };
}

function judge(forgery: AzureForgery, challenge?: Uint8Array) {
  const { evidence, endorsements } = forge(forgery);
  return verify(evidence, endorsements, { nowMs: FORGED_NOW_MS, roots: simulationRoots, challenge });
}

function codes(verdict: ReturnType<typeof judge>): string[] {
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
}

describe("Azure CVMs", () => {
  test("are accepted with what their vTPM quoted", () => {
    expect(judge({}, NONCE)).toMatchObject({
      ok: true,
      value: {
        tee: "azure-vtpm-snp",
        challengeVerified: true,
        simulated: true,
        measurements: { pcr1: "01".repeat(32) },
        fields: { userData: "ab" },
      },
    });
    expect(codes(judge({ signature: "structure" }, NONCE))).toEqual([]);
  });

  test("have another measurement when anything that booted is another", () => {
    const pcrs = PCRS.with(4, new Uint8Array(32).fill(0xee));
    const measurement = (forgery: AzureForgery): unknown => {
      const verdict = judge(forgery);
      return verdict.ok && verdict.value.measurement;
    };
    expect(measurement({ pcrs, pcrDigest: sha256(concat(...pcrs)) })).not.toBe(measurement({}));
  });

  test("are claimed as debug when the hardware says so", () => {
    expect(judge({ debug: true })).toMatchObject({ ok: true, value: { debug: true } });
  });

  test("answer a longer challenge by its digest", () => {
    const challenge = new Uint8Array(64).fill(4);
    expect(codes(judge({ nonce: tpmNonce(challenge) }, challenge))).toEqual([]);
  });

  const refused: readonly (readonly [string, AzureForgery, string])[] = [
    [
      "runtime data that the hardware does not name",
      { reportData: new Uint8Array(64) },
      "AZURE_RUNTIME_DATA_UNBOUND",
    ],
    [
      "registers that were not quoted",
      { pcrs: PCRS.with(4, new Uint8Array(32).fill(0xee)) },
      "AZURE_PCRS_MISMATCH",
    ],
    ["too few registers", { pcrs: PCRS.slice(0, 23) }, "AZURE_PCRS_MISMATCH"],
    ["an altered quote", { alter: ({ quote }) => void (quote[30] = 1) }, "AZURE_QUOTE_SIGNATURE_INVALID"],
    [
      "an altered signature",
      { alter: ({ signature }) => void signature.fill(1, 20, 30) },
      "AZURE_QUOTE_SIGNATURE_INVALID",
    ],
    ["a quote that no TPM made", { alter: ({ quote }) => void (quote[0] = 0) }, "TPM_QUOTE_MALFORMED"],
    [
      "something else that a TPM signed",
      { alter: ({ quote }) => void (quote[5] = 0x17) },
      "TPM_QUOTE_MALFORMED",
    ],
    ["a report without its mark", { alter: ({ hcl }) => void (hcl[0] = 0) }, "AZURE_HCL_MALFORMED"],
    [
      "an altered hardware report",
      { alter: ({ hcl }) => void (hcl[0x20 + 0x90] = 9) },
      "SNP_SIGNATURE_INVALID",
    ],
    ["a key of another name", { runtimeKey: { kid: "HCLEkPub", kty: "RSA", n, e } }, "AZURE_HCL_MALFORMED"],
    ["a key that is none of RSA", { runtimeKey: { kid: "HCLAkPub", kty: "EC" } }, "AZURE_HCL_MALFORMED"],
    ["the other hardware", { tee: "azure-vtpm-tdx" }, "AZURE_HCL_MALFORMED"],
  ];
  test.each(refused)("with %s are refused", (_, forgery, code) => {
    expect(codes(judge(forgery))).toContain(code);
  });

  test("that replay a challenge are refused", () => {
    expect(codes(judge({}, utf8("another challenge")))).toEqual(["CHALLENGE_MISMATCH"]);
  });
});

test("a report tells which hardware it is of", () => {
  const { bytes } = forge({}).evidence;
  expect(detectTee(bytes)).toBe("azure-vtpm-snp");
  const tdx = bytes.slice();
  tdx[1224] = 4;
  expect(detectTee(tdx)).toBe("azure-vtpm-tdx");
  expect(detectTee(bytes.subarray(0, 1000))).toBeUndefined();
});

describe("agents' JSON", () => {
  const { evidence } = forge({});
  const parts = evidence.parts as Record<"quote" | "signature" | "pcrs", Uint8Array>;
  const pcrs = PCRS.map((pcr) => [...pcr]);

  test("is read in both of its forms", () => {
    const url = (bytes: Uint8Array): string =>
      toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const newer = {
      version: 1,
      hcl_report: url(evidence.bytes),
      tpm_quote: { message: toBase64(parts.quote), signature: url(parts.signature), pcrs },
      vcek: "AAAA",
    };
    const older = {
      report: [...evidence.bytes],
      quote: { message: [...parts.quote], signature: [...parts.signature], pcrs },
    };
    for (const json of [newer, older, { platform: "az-snp", evidence: newer }]) {
      expect(parseAzureJson(utf8(JSON.stringify(json))).evidence).toEqual(evidence);
    }
    expect(parseAzureJson(utf8(JSON.stringify(newer))).vcek).toEqual(fromBase64("AAAA"));
  });

  test.each([
    "",
    "[]",
    "{}",
    '{"report":5,"quote":{"pcrs":[]}}',
    '{"report":[256],"quote":{"pcrs":[]}}',
    "null",
  ])("%s is refused", (text) => {
    expect(() => parseAzureJson(utf8(text))).toThrow(
      expect.objectContaining({ code: "AZURE_EVIDENCE_MALFORMED" }),
    );
  });
});

test("a quote about two banks of registers is refused", () => {
  const quote = concat(
    new Uint8Array([0xff, 0x54, 0x43, 0x47, 0x80, 0x18, 0, 0, 0, 0]),
    new Uint8Array(25),
    new Uint8Array([0, 0, 0, 2]),
    new Uint8Array(40),
  );
  expect(() => parseTpmQuote(quote)).toThrow(expect.objectContaining({ code: "TPM_QUOTE_MALFORMED" }));
});

function u32le(value: number): Uint8Array {
  return new Uint8Array([value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24]);
}
