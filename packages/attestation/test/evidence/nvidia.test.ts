import { utf8 } from "@cloister/core";
import { describe, expect, test } from "vitest";
import {
  describeNvidia,
  describeNvidiaRim,
  nvidiaMeasurement,
  nvidiaNonce,
  vendorRoots,
  verify,
  verifyNvidiaRim,
  type VerifyOptions,
} from "../../src/index.ts";
import { FORGED_NOW_MS } from "../forger/intel.ts";
import {
  forgedIdentitySerial,
  forgedNvidiaKeys,
  forgedNvidiaRoots,
  forgeNvidia,
  forgeRim,
  type NvidiaForgery,
  type RimForgery,
} from "../forger/nvidia.ts";

const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;
const NONCE = new Uint8Array(32).fill(0x4e);

function judge(forgery: NvidiaForgery, options: Partial<VerifyOptions> = {}): string[] {
  const { evidence, endorsements } = forgeNvidia(forgery);
  const verdict = verify(evidence, endorsements, {
    nowMs: FORGED_NOW_MS,
    roots: forgedNvidiaRoots,
    ...options,
  });
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
}

function judgeRim(
  forgery: RimForgery,
  options: { nowMs?: number; roots?: typeof vendorRoots } = {},
): string[] {
  const { nowMs = FORGED_NOW_MS, roots = forgedNvidiaRoots } = options;
  const verdict = verifyNvidiaRim(forgeRim(forgery), { nowMs, roots });
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
}

describe("genuine devices", () => {
  test("are accepted with their manifests", () => {
    const { evidence, endorsements } = forgeNvidia();
    const options = { nowMs: FORGED_NOW_MS, roots: forgedNvidiaRoots, challenge: NONCE };
    expect(verify(evidence, endorsements, options)).toMatchObject({
      ok: true,
      value: {
        challengeVerified: true,
        debug: false,
        hardwareId: "48b02df44660da06",
        measurement: nvidiaMeasurement({ arch: "HOPPER", driver: "545.00", vbios: "96.00.5E.00.01" }),
        fields: { arch: "HOPPER", golden: { activeGolden: 4, mismatchedIndices: [], complete: true } },
      },
    });
  });

  test("without manifests have a measurement that names their raw values", () => {
    const { evidence, endorsements } = forgeNvidia({ withoutRims: true });
    const verdict = verify(evidence, endorsements, { nowMs: FORGED_NOW_MS, roots: forgedNvidiaRoots });
    const named = nvidiaMeasurement({ arch: "HOPPER", driver: "545.00", vbios: "96.00.5E.00.01" });
    expect(verdict.ok && verdict.value.measurement).not.toBe(named);
  });

  test("answer a longer challenge by its digest", () => {
    const challenge = new Uint8Array(64).fill(5);
    expect(nvidiaNonce(challenge)).toHaveLength(32);
    expect(judge({ nonce: nvidiaNonce(challenge) }, { challenge })).toEqual([]);
    expect(judge({}, { challenge })).toEqual(["CHALLENGE_MISMATCH"]);
  });

  test("may be padded with zeros, and with nothing else", () => {
    const { evidence, endorsements } = forgeNvidia();
    const codes = (...padding: number[]): string[] => {
      const padded = { ...evidence, bytes: new Uint8Array([...evidence.bytes, ...padding]) };
      const verdict = verify(padded, endorsements, { nowMs: FORGED_NOW_MS, roots: forgedNvidiaRoots });
      return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
    };
    expect(codes(0, 0)).toEqual([]);
    expect(codes(0, 1)).toEqual(["NVIDIA_REPORT_MALFORMED"]);
  });

  test("of other chips are told apart", () => {
    const architecture = (chip: string): unknown => {
      const { evidence } = forgeNvidia({ chip });
      return describeNvidia(evidence)["arch"];
    };
    expect(["GH100", "GB100", "LS_10", "GX999"].map(architecture)).toEqual([
      "HOPPER",
      "BLACKWELL",
      "LS10",
      "GX999",
    ]);
  });

  test("may leave out the value that only devices with NVDEC0 have", () => {
    const vbiosRim = { golden: new Map([[35, [new Uint8Array(48).fill(9)]]]) };
    expect(judge({ vbiosRim })).toEqual([]);
    expect(judge({ vbiosRim, opaque: new Map([[11, new Uint8Array([0xaa])]]) })).toEqual([
      "NVIDIA_MEASUREMENT_MISMATCH",
    ]);
  });
});

const { stranger, other } = forgedNvidiaKeys;
const wrong = new Map([[7, [new Uint8Array(48)]]]);
const refused: readonly (readonly [string, NvidiaForgery, string])[] = [
  ["a report signed by another key", { reportSignedBy: stranger }, "NVIDIA_SIGNATURE_INVALID"],
  ["a report of the GPU of another machine", { reportSignedBy: other }, "NVIDIA_SIGNATURE_INVALID"],
  ["a leaf that only carries the right names", { leaf: { signedBy: stranger } }, "NVIDIA_CHAIN_BROKEN"],
  [
    "an authority that only carries the right names",
    { identity: { signedBy: stranger } },
    "NVIDIA_CHAIN_BROKEN",
  ],
  [
    "a root of a stranger",
    { root: { signedBy: stranger, fields: { publicKey: stranger.publicKey } } },
    "NVIDIA_CHAIN_BROKEN",
  ],
  [
    "a chain with a link missing",
    { chain: ([leaf, , root]) => [leaf, root].filter((c) => c !== undefined) },
    "NVIDIA_CHAIN_BROKEN",
  ],
  ["an authority that is none", { identity: { fields: { extensions: [] } } }, "NVIDIA_CHAIN_NOT_AUTHORITY"],
  ["an expired leaf", { leaf: { fields: { notAfterMs: FORGED_NOW_MS - DAY_MS } } }, "NVIDIA_CHAIN_EXPIRED"],
  ["a revoked authority", { crl: { revoked: [forgedIdentitySerial] } }, "NVIDIA_CERTIFICATE_REVOKED"],
  ["an expired revocation list", { crl: { nextUpdateMs: FORGED_NOW_MS - DAY_MS } }, "NVIDIA_CRL_EXPIRED"],
  [
    "a key that was derived for other firmware",
    { certificateFwid: new Uint8Array(48) },
    "NVIDIA_FIRMWARE_MISMATCH",
  ],
  ["an altered measurement", { alter: (report) => void (report[100] = 0) }, "NVIDIA_SIGNATURE_INVALID"],
  ["a value that no manifest knows", { driverRim: { golden: wrong } }, "NVIDIA_MEASUREMENT_MISMATCH"],
  ["a manifest of another version", { driverRim: { version: "1.00" } }, "NVIDIA_RIM_OTHER_VERSION"],
  ["a manifest of another product", { driverRim: { product: "GB100" } }, "NVIDIA_RIM_OTHER_PRODUCT"],
  ["manifests that contradict each other", { vbiosRim: { golden: wrong } }, "NVIDIA_RIM_CONFLICT"],
  ["a manifest signed by a stranger", { driverRim: { signedBy: stranger } }, "NVIDIA_RIM_SIGNATURE_INVALID"],
  [
    "a report that is cut off",
    { alter: (report) => void report.fill(0xff, 42, 45) },
    "NVIDIA_REPORT_MALFORMED",
  ],
];

describe("forged devices", () => {
  test.each(refused)("%s is refused", (_, forgery, code) => {
    expect(judge(forgery)).toContain(code);
  });

  test("a replayed challenge is refused", () => {
    expect(judge({}, { challenge: new Uint8Array(32) })).toEqual(["CHALLENGE_MISMATCH"]);
  });

  test("the roots of devices and of manifests do not stand in for each other", () => {
    const pins = forgedNvidiaRoots.pins;
    const swapped = {
      simulated: false,
      pins: { nvidia: pins.nvidiaRim ?? [], nvidiaRim: pins.nvidia ?? [] },
    };
    expect(judge({}, { roots: swapped })).toEqual(
      expect.arrayContaining(["NVIDIA_ROOT_UNKNOWN", "NVIDIA_RIM_ROOT_UNKNOWN"]),
    );
  });

  test("evidence without certificates is refused", () => {
    const { evidence, endorsements } = forgeNvidia();
    const bare = { tee: evidence.tee, bytes: evidence.bytes };
    const verdict = verify(bare, endorsements, { nowMs: FORGED_NOW_MS, roots: forgedNvidiaRoots });
    expect(verdict).toMatchObject({ ok: false, refusals: [{ code: "NVIDIA_CHAIN_MISSING" }] });
  });
});

describe("manifests", () => {
  test("are accepted as signed", () => {
    expect(judgeRim({})).toEqual([]);
    expect(describeNvidiaRim(forgeRim())).toMatchObject({
      version: "545.00",
      activeMeasurements: 2,
      signer: "O=Forger,CN=Forged RIM Signer",
    });
  });

  test("survive what canonicalization evens out", () => {
    const alter = (xml: string): string =>
      xml
        .replace("<s:Payload>", "<s:Payload  ><!-- a comment -->")
        .replace('name="GH100" tagId="forged"', "tagId='forged'\n  name='GH100'")
        .replaceAll(' size="48"/>', ' size="48"></s:Resource>');
    expect(judgeRim({ alter })).toEqual([]);
  });

  const altered: readonly (readonly [string, (xml: string) => string, string])[] = [
    ["an altered version", (xml) => xml.replace('"545.00"', '"546.00"'), "NVIDIA_RIM_SIGNATURE_INVALID"],
    ["an altered value", (xml) => xml.replace('index="7"', 'index="9"'), "NVIDIA_RIM_SIGNATURE_INVALID"],
    [
      "white space between elements",
      (xml) => xml.replace("</s:Payload>", " </s:Payload>"),
      "NVIDIA_RIM_SIGNATURE_INVALID",
    ],
    ["another prefix", (xml) => xml.replaceAll("s:Meta", "Meta"), "NVIDIA_RIM_SIGNATURE_INVALID"],
    [
      "an altered digest",
      (xml) => xml.replace(/DigestValue>./, "DigestValue>A"),
      "NVIDIA_RIM_SIGNATURE_INVALID",
    ],
    ["a reference to a part", (xml) => xml.replace('URI=""', 'URI="#x"'), "XML_SIGNATURE_UNSUPPORTED"],
    ["another transform", (xml) => xml.replace("enveloped-signature", "base64"), "XML_SIGNATURE_UNSUPPORTED"],
    [
      "another digest algorithm",
      (xml) => xml.replace("xmldsig-more#sha384", "xmldsig-more#md5"),
      "XML_SIGNATURE_UNSUPPORTED",
    ],
    [
      "two signatures",
      (xml) => xml.replace(/(<d:Signature .*<\/d:Signature>)/s, "$1$1"),
      "XML_SIGNATURE_MALFORMED",
    ],
    ["no signature", (xml) => xml.replace(/<d:Signature .*<\/d:Signature>/s, ""), "XML_SIGNATURE_MALFORMED"],
    [
      "a signature that is not the root's",
      (xml) =>
        xml.replace("<d:Signature ", "<s:W><d:Signature ").replace("</d:Signature>", "</d:Signature></s:W>"),
      "XML_SIGNATURE_MALFORMED",
    ],
    [
      "a value that is no digest",
      (xml) => xml.replace(/Hash0="[0-9a-f]{96}"/, 'Hash0="00"'),
      "NVIDIA_RIM_MALFORMED",
    ],
    ["a document type", (xml) => `<!DOCTYPE x>${xml}`, "XML_MALFORMED"],
    ["an entity", (xml) => xml.replace("forged", "&forged;"), "XML_MALFORMED"],
    ["a processing instruction", (xml) => xml.replace("<s:Payload>", "<?x y?><s:Payload>"), "XML_MALFORMED"],
    ["an unbound prefix", (xml) => xml.replace("<s:Meta", "<z:Meta"), "XML_MALFORMED"],
    ["an attribute twice", (xml) => xml.replace("tagId=", 'tagId="a" tagId='), "XML_MALFORMED"],
    ["text after the end", (xml) => `${xml}x`, "XML_MALFORMED"],
  ];
  test.each(altered)("with %s are refused", (_, alter, code) => {
    expect(judgeRim({ alter })).toContain(code);
  });

  test("of other signers and other times are refused", () => {
    expect(judgeRim({ signedBy: stranger })).toEqual(["NVIDIA_RIM_SIGNATURE_INVALID"]);
    expect(judgeRim({ signer: { signedBy: stranger } })).toContain("NVIDIA_RIM_CHAIN_BROKEN");
    expect(judgeRim({}, { roots: vendorRoots })).toEqual(["NVIDIA_RIM_ROOT_UNKNOWN"]);
    expect(judgeRim({}, { nowMs: FORGED_NOW_MS + 2 * YEAR_MS })).toContain("NVIDIA_RIM_CHAIN_EXPIRED");
    // Key usage keyAgreement only.
    const keyAgreement = { oid: "2.5.29.15", critical: true, value: new Uint8Array([3, 2, 3, 8]) };
    expect(judgeRim({ signer: { fields: { extensions: [keyAgreement] } } })).toContain(
      "NVIDIA_RIM_SIGNER_WRONG",
    );
  });

  test("that are nested too deep, or too large, are refused", () => {
    const nested = utf8("<a>".repeat(100));
    const large = utf8(`<a>${"x".repeat(1 << 20)}</a>`);
    for (const bytes of [nested, large, new Uint8Array([0xff, 0xfe])]) {
      const verdict = verifyNvidiaRim(bytes, { nowMs: FORGED_NOW_MS, roots: forgedNvidiaRoots });
      expect(verdict).toMatchObject({ ok: false, refusals: [{ code: "XML_MALFORMED" }] });
    }
  });
});
