import fc from "fast-check";
import { expect, test } from "vitest";
import * as native from "../native/primitives.ts";
import * as portable from "../src/primitives-noble.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

test("the browser's primitives and Node's agree", () => {
  fc.assert(
    fc.property(bytes(32), bytes(12), fc.uint8Array({ maxLength: 3000 }), (key, nonce, plaintext) => {
      const [here, there] = [native, portable].map((side) => side.createAead(key).seal(nonce, plaintext));
      expect(here).toEqual(there);
      const sealed = Uint8Array.from([...(here?.body ?? []), ...(here?.tag ?? [])]);
      for (const side of [native, portable]) {
        expect(side.createAead(key).open(nonce, sealed)).toEqual(plaintext);
        expect(
          side.createAead(key).open(nonce, sealed.with(sealed.length - 1, (sealed.at(-1) ?? 0) ^ 1)),
        ).toBeUndefined();
        expect(side.createAead(key).open(nonce, sealed.subarray(0, 15))).toBeUndefined();
      }
      const digests = [native, portable].map((side) => {
        const hasher = side.sha256Hasher();
        for (const part of [plaintext.subarray(0, 100), plaintext.subarray(100)]) hasher.update(part);
        return hasher.digest();
      });
      expect(digests[0]).toEqual(digests[1]);
    }),
    { numRuns: 50 },
  );
});

test("they agree on scrypt", () => {
  const [passphrase, salt] = [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5)];
  expect(native.scrypt(passphrase, salt, 5)).toEqual(portable.scrypt(passphrase, salt, 5));
});
