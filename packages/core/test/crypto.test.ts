import { createHmac, generateKeyPairSync, sign as nodeSign } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import * as native from "../native/crypto.ts";
import { fromHex, toHex, utf8 } from "../src/bytes.ts";
import * as portable from "../src/crypto-noble.ts";

const bytes = fc.uint8Array({ maxLength: 200 });
const seed = fc.uint8Array({ minLength: 32, maxLength: 32 });

test("both implementations offer the same names", () => {
  expect(Object.keys(native).toSorted()).toEqual(Object.keys(portable).toSorted());
});

test("hashes, MACs and derived keys are equal", () => {
  fc.assert(
    fc.property(bytes, bytes, fc.integer({ min: 1, max: 100 }), (a, b, length) => {
      expect(native.sha256(a)).toEqual(portable.sha256(a));
      expect(native.sha384(a)).toEqual(portable.sha384(a));
      expect(native.sha512(a)).toEqual(portable.sha512(a));
      expect(native.hmacSha256(a, b)).toEqual(portable.hmacSha256(a, b));
      expect(native.hkdfSha256(a, b, utf8("info"), length)).toEqual(
        portable.hkdfSha256(a, b, utf8("info"), length),
      );
    }),
  );
});

test("native results are plain Uint8Arrays, not Buffers", () => {
  const results = [native.sha256(utf8("x")), native.hmacSha256(utf8("k"), utf8("x"))];
  for (const result of results) expect(Object.getPrototypeOf(result)).toBe(Uint8Array.prototype);
});

test("HKDF gives the output of RFC 5869, test case 1", () => {
  const derived = portable.hkdfSha256(
    fromHex("0b".repeat(22)),
    fromHex("000102030405060708090a0b0c"),
    fromHex("f0f1f2f3f4f5f6f7f8f9"),
    42,
  );
  expect(toHex(derived)).toBe(
    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
  );
});

test("HMAC agrees with node:crypto on a key longer than a block", () => {
  const key = new Uint8Array(200).fill(7);
  const expected = createHmac("sha256", key).update("message").digest("hex");
  expect(toHex(portable.hmacSha256(key, utf8("message")))).toBe(expected);
});

test("Ed25519 gives the signature of RFC 8032 §7.1, test 2", () => {
  const secret = fromHex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  expect(toHex(portable.ed25519PublicKey(secret))).toBe(
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
  );
  expect(toHex(portable.ed25519Sign(secret, fromHex("72")))).toBe(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  );
});

test("both judge Ed25519 signatures alike, good ones and broken ones", () => {
  fc.assert(
    fc.property(seed, bytes, fc.nat(63), (secret, message, at) => {
      const publicKey = portable.ed25519PublicKey(secret);
      const signature = portable.ed25519Sign(secret, message);
      const broken = Uint8Array.from(signature, (byte, index) => (index === at ? byte ^ 1 : byte));
      for (const implementation of [native, portable]) {
        expect(implementation.ed25519Verify(publicKey, message, signature)).toBe(true);
        expect(implementation.ed25519Verify(publicKey, message, broken)).toBe(false);
      }
    }),
    { numRuns: 25 },
  );
});

test.each(["P-256", "P-384"] as const)(
  "both judge %s signatures alike, good ones and broken ones",
  (curve) => {
    const width = curve === "P-256" ? 32 : 48;
    const scalar = fc.uint8Array({ minLength: width, maxLength: width }).map((raw) => {
      const safe = Uint8Array.from(raw);
      safe[0] = 1;
      return safe;
    });
    fc.assert(
      fc.property(scalar, bytes, fc.nat(2 * width - 1), (secret, message, at) => {
        const publicKey = portable.ecdsaPublicKey(curve, secret);
        const signature = portable.ecdsaSign(curve, secret, message);
        const broken = Uint8Array.from(signature, (byte, index) => (index === at ? byte ^ 1 : byte));
        for (const implementation of [native, portable]) {
          expect(implementation.ecdsaVerify(curve, publicKey, message, signature)).toBe(true);
          expect(implementation.ecdsaVerify(curve, publicKey, message, broken)).toBe(false);
        }
      }),
      { numRuns: 15 },
    );
  },
);

test.each([
  ["P-256", "prime256v1", "sha256"],
  ["P-384", "secp384r1", "sha384"],
] as const)(
  "a %s signature that OpenSSL made verifies in both, whatever its s",
  (curve, namedCurve, hash) => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve });
    const jwk = publicKey.export({ format: "jwk" });
    const point = Buffer.concat([
      Buffer.of(4),
      Buffer.from(jwk.x as string, "base64url"),
      Buffer.from(jwk.y as string, "base64url"),
    ]);
    for (let round = 0; round < 8; round++) {
      const message = utf8(`message ${round}`);
      const signature = nodeSign(hash, message, { key: privateKey, dsaEncoding: "ieee-p1363" });
      expect(native.ecdsaVerify(curve, point, message, signature)).toBe(true);
      expect(portable.ecdsaVerify(curve, Uint8Array.from(point), message, Uint8Array.from(signature))).toBe(
        true,
      );
    }
  },
);

test("malformed keys and signatures are false, never a throw", () => {
  const lengths = [0, 1, 31, 32, 33, 63, 64, 65, 96, 97];
  for (const implementation of [native, portable]) {
    for (const keyLength of lengths) {
      for (const signatureLength of lengths) {
        const [key, signature] = [new Uint8Array(keyLength).fill(5), new Uint8Array(signatureLength)];
        expect(implementation.ed25519Verify(key, utf8("m"), signature)).toBe(false);
        expect(implementation.ecdsaVerify("P-256", key, utf8("m"), signature)).toBe(false);
        expect(implementation.ecdsaVerify("P-384", key, utf8("m"), signature)).toBe(false);
      }
    }
  }
});

test("X25519 agrees from both sides and refuses a low-order point", () => {
  fc.assert(
    fc.property(seed, seed, (a, b) => {
      const fromA = portable.x25519Shared(a, portable.x25519PublicKey(b));
      expect(portable.x25519Shared(b, portable.x25519PublicKey(a))).toEqual(fromA);
    }),
    { numRuns: 20 },
  );
  expect(() => portable.x25519Shared(new Uint8Array(32).fill(9), new Uint8Array(32))).toThrow(/invalid/);
});

test("both implementations agree on X25519, and on points and lengths they refuse", () => {
  fc.assert(
    fc.property(seed, seed, (a, b) => {
      const [share, other] = [portable.x25519PublicKey(a), portable.x25519PublicKey(b)];
      expect(native.x25519PublicKey(a)).toEqual(share);
      expect(native.x25519Shared(a, other)).toEqual(portable.x25519Shared(b, share));
    }),
    { numRuns: 20 },
  );
  const secret = new Uint8Array(32).fill(9);
  // RFC 7748 §6.1: the shares of the points of order 1, 2, 4 and 8, and a non-canonical one, come to zero.
  const one = new Uint8Array(32).with(0, 1);
  const eight = fromHex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
  const prime = new Uint8Array(32).fill(255).with(0, 0xed).with(31, 0x7f);
  for (const point of [new Uint8Array(32), one, eight, prime, prime.with(0, 0xee), prime.with(0, 0xec)]) {
    for (const { x25519Shared } of [native, portable])
      expect(() => x25519Shared(secret, point)).toThrow(/invalid|failed/);
  }
  for (const length of [0, 31, 33]) {
    const short = new Uint8Array(length).fill(3);
    for (const { x25519Shared, x25519PublicKey } of [native, portable]) {
      expect(() => x25519PublicKey(short)).toThrow(/32/);
      expect(() => x25519Shared(short, secret)).toThrow(/32/);
      expect(() => x25519Shared(secret, short)).toThrow(/32/);
    }
  }
  // The highest bit of a share is ignored. RFC 7748 §5
  const high = secret.with(31, 0x89);
  expect(native.x25519Shared(secret, high)).toEqual(portable.x25519Shared(secret, high));
});
