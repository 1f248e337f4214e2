import { execFileSync } from "node:child_process";
import { createHash, generateKeyPairSync, sign as nodeSign, X509Certificate, constants } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromHex, sha256, toHex, utf8 } from "@cloister/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { verifySignature as verifyNative } from "../native/signatures.ts";
import {
  basicConstraintsOf,
  buildCertificate,
  buildCrl,
  childrenOf,
  der,
  derExplicit,
  derInteger,
  derOctets,
  derOid,
  derSequence,
  derTime,
  derUnsigned,
  nameOf,
  parseCertificate,
  parseCrl,
  parsePemChain,
  parsePublicKey,
  pinOf,
  publicKeyFrom,
  readDer,
  readOid,
  readSmallInteger,
  readTime,
  readUnsigned,
  TAG,
  toPem,
  usageExtensions,
  verifyCertificateSignature,
  verifyChain,
  verifyCrl,
  type Certificate,
} from "../src/index.ts";
import { verifySignature as verifyPortable, type SignatureScheme } from "../src/signatures-portable.ts";
import { forgedKey } from "./forger/keys.ts";

const NOW_MS = Date.UTC(2026, 0, 15);
const root = forgedKey("test root");
const leaf = forgedKey("test leaf");
const rootName = nameOf("Test Root", "Test");

function rootCertificate(): Uint8Array {
  return buildCertificate(
    {
      serial: new Uint8Array([1]),
      issuer: rootName,
      subject: rootName,
      notBeforeMs: Date.UTC(2020, 0, 1),
      notAfterMs: Date.UTC(2060, 0, 1),
      publicKey: root.publicKey,
      extensions: usageExtensions({ authority: true, pathLengthMax: 0 }),
    },
    root.issuer,
  );
}

function leafCertificate(serial = [0x80, 2]): Uint8Array {
  return buildCertificate(
    {
      serial: new Uint8Array(serial),
      issuer: rootName,
      subject: nameOf("Test Leaf", "Test"),
      notBeforeMs: Date.UTC(2026, 0, 1),
      notAfterMs: Date.UTC(2026, 1, 1),
      publicKey: leaf.publicKey,
      extensions: usageExtensions({ authority: false }),
    },
    root.issuer,
  );
}

describe("DER", () => {
  const malformed: [string, string][] = [
    ["nothing", ""],
    ["a tag alone", "30"],
    ["an indefinite length", "30800000"],
    ["a length that is not minimal", "308101ff"],
    ["a length padded with a zero", "30820001ff"],
    ["a length beyond the end", "3005aa"],
    ["a length of five bytes", "30850000000001aa"],
    ["a tag of several bytes", "1f8101ff"],
    ["bytes after the element", "0500ff"],
  ];
  test.each(malformed)("refuses %s", (_, hex) => {
    expect(() => readDer(fromHex(hex))).toThrow(expect.objectContaining({ code: "DER_MALFORMED" }));
  });

  const integers: [string, string][] = [
    ["a negative integer", "0201ff"],
    ["a padded integer", "02020001"],
    ["an empty integer", "0200"],
  ];
  test.each(integers)("refuses %s", (_, hex) => {
    expect(() => readUnsigned(readDer(fromHex(hex)))).toThrow(
      expect.objectContaining({ code: "DER_MALFORMED" }),
    );
  });

  const oids: [string, string][] = [
    ["an empty identifier", "0600"],
    ["a padded arc", "06038001ff"],
    ["an arc that is cut off", "06022a86"],
  ];
  test.each(oids)("refuses %s", (_, hex) => {
    expect(() => readOid(readDer(fromHex(hex)))).toThrow(expect.objectContaining({ code: "DER_MALFORMED" }));
  });

  const times: [string, string][] = [
    ["without Z", "170c323630313031303030303030"],
    ["with a fraction", "1811323032363031303130303030303030302e355a"],
    ["of no date", "170d3236313330313030303030305a"],
    ["of a day that its month does not have", "170d3236303233303030303030305a"],
    ["of day 0", "170d3236303130303030303030305a"],
    ["of hour 24", "170d3236303130313234303030305a"],
    ["of second 60", "170d3236303130313030303036305a"],
    ["with a sign", "170d323630313031303030302d315a"],
    ["of a year below 100", "180f30303530303130313030303030305a"],
    ["cut off", "170b323630313031303030305a"],
  ];
  test.each(times)("refuses a time %s", (_, hex) => {
    expect(() => readTime(readDer(fromHex(hex)))).toThrow(expect.objectContaining({ code: "DER_MALFORMED" }));
  });

  test("reads what it writes", () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 47 }), fc.uint8Array({ maxLength: 400 }), (number, bytes) => {
        const [integer, octets] = childrenOf(readDer(derSequence(derInteger(number), derOctets(bytes))));
        expect(readSmallInteger(integer)).toBe(number);
        expect(octets?.content).toEqual(bytes);
      }),
    );
    fc.assert(
      fc.property(fc.integer({ min: -631_152_000, max: 4_102_444_800 }), (seconds) => {
        expect(readTime(readDer(derTime(seconds * 1000)))).toBe(seconds * 1000);
      }),
    );
    fc.assert(
      fc.property(
        fc.nat(2),
        fc.nat(39),
        fc.array(fc.nat({ max: 2 ** 31 }), { maxLength: 8 }),
        (a, b, rest) => {
          const dotted = [a, b, ...rest].join(".");
          expect(readOid(readDer(derOid(dotted)))).toBe(dotted);
        },
      ),
    );
  });

  test("never throws anything but its own error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const read of [parseCertificate, parseCrl, parsePublicKey]) {
          try {
            read(bytes);
          } catch (error) {
            expect(error).toMatchObject({ code: "DER_MALFORMED" });
          }
        }
      }),
    );
  });
});

describe("certificates", () => {
  test("read by node:crypto as by us", () => {
    const theirs = new X509Certificate(leafCertificate());
    const ours = parseCertificate(leafCertificate());
    expect(ours.serial).toBe(theirs.serialNumber.toLowerCase());
    expect(new Date(ours.notAfterMs)).toEqual(new Date(theirs.validTo));
    expect(theirs.verify(new X509Certificate(rootCertificate()).publicKey)).toBe(true);
    expect(theirs.subject).toContain("CN=Test Leaf");
    expect(ours.subjectCommonName).toBe("Test Leaf");
    const spki = theirs.publicKey.export({ type: "spki", format: "der" });
    expect(pinOf(ours.publicKey)).toBe(createHash("sha256").update(spki).digest("hex"));
  });

  test("and lists accepted by openssl", () => {
    const dir = mkdtempSync(join(tmpdir(), "cloister-x509-"));
    try {
      const crl = buildCrl(
        {
          issuer: rootName,
          thisUpdateMs: NOW_MS,
          nextUpdateMs: NOW_MS + 86_400_000,
          number: 7,
          revoked: [{ serial: new Uint8Array([0x80, 2]), timeMs: NOW_MS }],
        },
        root.issuer,
      );
      writeFileSync(join(dir, "root.pem"), toPem(rootCertificate()));
      writeFileSync(join(dir, "leaf.pem"), toPem(leafCertificate()));
      writeFileSync(join(dir, "crl.der"), crl);
      const openssl = (...args: string[]): string =>
        execFileSync("openssl", args, { cwd: dir, encoding: "utf8" });
      const verified = openssl("verify", "-attime", String(NOW_MS / 1000), "-CAfile", "root.pem", "leaf.pem");
      expect(verified).toContain("leaf.pem: OK");
      expect(openssl("crl", "-inform", "DER", "-in", "crl.der", "-noout", "-text")).toContain(
        "Serial Number: 8002",
      );
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test("a caller's reuse of its buffer changes nothing that was read", () => {
    const buffer = leafCertificate([9]);
    const before = parseCertificate(buffer);
    const copy = buffer.slice();
    buffer.fill(0);
    expect(toHex(before.der)).toBe(toHex(copy));
    expect(parseCertificate(copy).serial).toBe("09");
  });

  const twists: [string, (bytes: Uint8Array) => Uint8Array][] = [
    ["cut off", (bytes) => bytes.subarray(0, -1)],
    ["with a byte more", (bytes) => Uint8Array.from([...bytes, 0])],
    ["of an absurd size", () => new Uint8Array(70_000)],
    ["with an extension twice", () => twiceExtended()],
  ];
  test.each(twists)("refused %s", (_, twist) => {
    expect(() => parseCertificate(twist(leafCertificate()))).toThrow(
      expect.objectContaining({ code: "DER_MALFORMED" }),
    );
  });

  test("are not authorities unless they say so readably", () => {
    expect(basicConstraintsOf(parseCertificate(rootCertificate()))).toEqual({
      isAuthority: true,
      pathLengthMax: 0,
    });
    expect(basicConstraintsOf(parseCertificate(leafCertificate())).isAuthority).toBe(false);
  });

  test("a signature is held against the key that is asked about, also when another was right before", () => {
    const certificate = parseCertificate(leafCertificate());
    expect(verifyCertificateSignature(certificate, root.publicKey)).toBe(true);
    expect(verifyCertificateSignature(certificate, leaf.publicKey)).toBe(false);
    expect(verifyCertificateSignature(certificate, root.publicKey)).toBe(true);
  });
});

function twiceExtended(): Uint8Array {
  const [usage] = usageExtensions({ authority: false });
  if (usage === undefined) throw new Error("there is a usage extension");
  const fields = {
    serial: new Uint8Array([3]),
    issuer: rootName,
    subject: rootName,
    notBeforeMs: 0,
    notAfterMs: NOW_MS,
  };
  return buildCertificate({ ...fields, publicKey: leaf.publicKey, extensions: [usage, usage] }, root.issuer);
}

describe("chains", () => {
  const roots = new Set([pinOf(root.publicKey)]);
  const judge = (chain: readonly Certificate[], nowMs = NOW_MS): string[] =>
    verifyChain(chain, { prefix: "T", what: "the chain", nowMs, roots }).map(({ code }) => code);
  const chain = (): Certificate[] => parsePemChain(toPem(leafCertificate(), rootCertificate()));

  test("from leaf to root are accepted", () => {
    expect(judge(chain())).toEqual([]);
  });
  test("are refused empty, too long, and by an unknown root", () => {
    expect(judge([])).toEqual(["T_CHAIN_MALFORMED"]);
    expect(judge(Array.from({ length: 9 }, () => chain()[1] as Certificate))).toEqual(["T_CHAIN_MALFORMED"]);
    expect(judge([chain()[0] as Certificate])).toEqual(
      expect.arrayContaining(["T_ROOT_UNKNOWN", "T_CHAIN_BROKEN", "T_CHAIN_SIGNATURE_INVALID"]),
    );
  });
  test("are refused before and after their time", () => {
    expect(judge(chain(), Date.UTC(2025, 0, 1))).toEqual(["T_CHAIN_EXPIRED"]);
    expect(judge(chain(), Date.UTC(2027, 0, 1))).toEqual(["T_CHAIN_EXPIRED"]);
  });
  test("are refused beyond the path length", () => {
    const [, authority] = chain();
    expect(judge([...chain(), authority as Certificate])).toContain("T_CHAIN_TOO_LONG");
  });
});

describe("revocation lists", () => {
  const options = { prefix: "T", what: "The list", nowMs: NOW_MS };
  const fields = {
    issuer: rootName,
    thisUpdateMs: NOW_MS - 1000,
    nextUpdateMs: NOW_MS + 1000,
    number: 1,
    revoked: [],
  };

  test("of another issuer, of another key and of another time are refused", () => {
    const issuer = parseCertificate(rootCertificate());
    const codes = (crl: Uint8Array, nowMs = NOW_MS): string[] =>
      verifyCrl(parseCrl(crl), issuer, { ...options, nowMs }).map(({ code }) => code);
    expect(codes(buildCrl(fields, root.issuer))).toEqual([]);
    expect(codes(buildCrl(fields, leaf.issuer))).toEqual(["T_CRL_SIGNATURE_INVALID"]);
    expect(codes(buildCrl({ ...fields, issuer: nameOf("Other", "Test") }, root.issuer))).toEqual([
      "T_CRL_ISSUER_WRONG",
    ]);
    expect(codes(buildCrl(fields, root.issuer), NOW_MS + 5000)).toEqual(["T_CRL_EXPIRED"]);
  });

  test("with a critical extension (a delta list) are not read", () => {
    const genuine = readDer(buildCrl(fields, root.issuer));
    const [tbs, algorithm, bits] = childrenOf(genuine);
    const delta = derSequence(
      derOid("2.5.29.27"),
      der(TAG.boolean, new Uint8Array([0xff])),
      derOctets(derInteger(1)),
    );
    const kept = childrenOf(tbs as ReturnType<typeof readDer>).slice(0, -1);
    const twisted = derSequence(...kept.map(({ whole }) => whole), derExplicit(0, derSequence(delta)));
    const whole = derSequence(twisted, (algorithm as typeof genuine).whole, (bits as typeof genuine).whole);
    expect(() => parseCrl(whole)).toThrow(/critical extension/);
  });
});

describe("RSA keys", () => {
  const key = (bits: number, exponent: readonly number[]): unknown =>
    publicKeyFrom(
      "rsa",
      derSequence(derUnsigned(new Uint8Array(bits / 8).fill(0xff)), derUnsigned(new Uint8Array(exponent))),
    );

  test.each([2048, 3072, 4096, 8192])("of %i bits are read", (bits) => {
    expect(key(bits, [1, 0, 1])).toMatchObject({ algorithm: "rsa" });
    expect(key(bits, [3])).toMatchObject({ algorithm: "rsa" });
  });

  test.each([
    ["too short to mean anything", 1024, [1, 0, 1]],
    ["too long to be computed with", 16_384, [1, 0, 1]],
    ["with an exponent as long as the key", 3072, Array.from({ length: 384 }, () => 0xff)],
    ["with an exponent of five bytes", 3072, [1, 0, 0, 0, 1]],
    ["with an even exponent", 3072, [1, 0, 0]],
    ["with the exponent 1, under which every signature is genuine", 3072, [1]],
    ["with the exponent 0", 3072, [0]],
  ])("%s are refused", (_, bits, exponent) => {
    expect(() => key(bits, exponent)).toThrow(expect.objectContaining({ code: "DER_MALFORMED" }));
  });
});

describe("signatures: the portable and the native code agree", () => {
  const message = utf8("what is signed");
  const cases: [string, () => { spki: Uint8Array; signature: Uint8Array; scheme: SignatureScheme }][] = [
    ...(["sha256", "sha384", "sha512"] as const).flatMap((hash) => [
      [`RSA PKCS #1, ${hash}`, () => rsa(hash, "pkcs1")] as [string, () => ReturnType<typeof rsa>],
      [`RSA-PSS, ${hash}`, () => rsa(hash, "pss")] as [string, () => ReturnType<typeof rsa>],
    ]),
    ["P-256", () => ec("P-256", "sha256")],
    ["P-384", () => ec("P-384", "sha384")],
    ["P-384 with SHA-256", () => ec("P-384", "sha256")],
    ["Ed25519", ed25519],
  ];
  test.each(cases)("%s", (_, make) => {
    const { spki, signature, scheme } = make();
    const key = parsePublicKey(spki);
    for (const verify of [verifyPortable, verifyNative]) {
      expect(verify(key, scheme, message, signature)).toBe(true);
      expect(verify(key, scheme, utf8("something else"), signature)).toBe(false);
      expect(verify(key, scheme, message, signature.subarray(1))).toBe(false);
      expect(verify(key, scheme, message, new Uint8Array(signature.length))).toBe(false);
      for (const at of [0, signature.length >> 1, signature.length - 1]) {
        const flipped = signature.slice();
        flipped[at] = (flipped[at] as number) ^ 1;
        expect(verify(key, scheme, message, flipped)).toBe(false);
      }
      const other: SignatureScheme =
        scheme.kind === "ed25519" ? { kind: "ecdsa", hash: "sha256" } : { kind: "ed25519" };
      expect(verify(key, other, message, signature)).toBe(false);
    }
  });

  function rsa(hash: "sha256" | "sha384" | "sha512", padding: "pkcs1" | "pss") {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const saltBytes = 32;
    const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: saltBytes };
    const signature = nodeSign(hash, message, { key: privateKey, ...(padding === "pss" ? pss : {}) });
    const scheme: SignatureScheme =
      padding === "pss" ? { kind: "rsa-pss", hash, saltBytes } : { kind: "rsa-pkcs1", hash };
    return { spki: spkiOf(publicKey), signature: new Uint8Array(signature), scheme };
  }

  function ec(namedCurve: string, hash: "sha256" | "sha384") {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve });
    const signature = nodeSign(hash, message, { key: privateKey, dsaEncoding: "ieee-p1363" });
    return {
      spki: spkiOf(publicKey),
      signature: new Uint8Array(signature),
      scheme: { kind: "ecdsa", hash } as const,
    };
  }

  function ed25519() {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    return {
      spki: spkiOf(publicKey),
      signature: new Uint8Array(nodeSign(null, message, privateKey)),
      scheme: { kind: "ed25519" } as const,
    };
  }

  function spkiOf(key: { export(options: { type: "spki"; format: "der" }): Uint8Array }): Uint8Array {
    return new Uint8Array(key.export({ type: "spki", format: "der" }));
  }

  test("a key's pin is the digest of its SubjectPublicKeyInfo", () => {
    expect(pinOf(root.publicKey)).toBe(toHex(sha256(root.publicKey.spki)));
    expect(toHex(derUnsigned(new Uint8Array([0, 0, 0x80])))).toBe("02020080");
  });
});
