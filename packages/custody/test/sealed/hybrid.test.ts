import { describe, expect, test } from "vitest";
import { buildHeader, hybridIdentity, unwrapFileKey, type Stanza } from "../../src/index.ts";
import { decodeBase64, encodeBase64 } from "../../src/sealed/base64.ts";
import { entropy } from "../release/group.ts";

const FILE_KEY = entropy(16);
const identity = hybridIdentity(entropy(32));
const other = hybridIdentity(entropy(32));
const [stanza] = identity.recipient.wrap(FILE_KEY, entropy) as [Stanza];
const [type, share] = stanza.args as [string, string];
const shareBytes = decodeBase64(share) as Uint8Array;

function outcome(...stanzas: Stanza[]): string {
  try {
    unwrapFileKey(buildHeader(stanzas, FILE_KEY), [identity]);
    return "opened";
  } catch (failure) {
    return (failure as { code: string }).code;
  }
}

test("a hybrid stanza opens, also among others' and unknown ones", () => {
  const [foreign] = other.recipient.wrap(FILE_KEY, entropy) as [Stanza];
  expect(outcome({ args: ["grease"], body: new Uint8Array(0) }, foreign, stanza)).toBe("opened");
  expect(outcome(foreign)).toBe("SEALED_NO_IDENTITY_MATCHES");
});

describe("is refused", () => {
  const withShare = (bytes: Uint8Array): Stanza => ({ ...stanza, args: [type, encodeBase64(bytes)] });

  test.each<[string, Stanza]>([
    ["with an argument too many", { ...stanza, args: [...stanza.args, "more"] }],
    ["without a share", { ...stanza, args: [type] }],
    ["with a short share", withShare(shareBytes.subarray(1))],
    ["with a long share", withShare(Uint8Array.of(...shareBytes, 0))],
    ["with a share that is not base64", { ...stanza, args: [type, `${share.slice(0, -1)}*`] }],
    ["with a long body", { ...stanza, body: entropy(33) }],
    [
      "with the X25519 part of low order",
      withShare(Uint8Array.of(...shareBytes.subarray(0, -32), ...new Uint8Array(32))),
    ],
  ])("%s", (_, changed) => {
    expect(outcome(changed)).toBe("SEALED_STANZA_MALFORMED");
  });

  test.each<[string, Stanza]>([
    ["with a changed body", { ...stanza, body: stanza.body.with(0, (stanza.body[0] as number) ^ 1) }],
    ["with the ML-KEM part changed", withShare(shareBytes.with(5, (shareBytes[5] as number) ^ 1))],
    ["with the X25519 part changed", withShare(shareBytes.with(1100, (shareBytes[1100] as number) ^ 1))],
    ["under a name in upper case", { ...stanza, args: [type.toUpperCase(), share] }],
  ])("%s: it is for nobody here", (_, changed) => {
    expect(outcome(changed)).toBe("SEALED_NO_IDENTITY_MATCHES");
  });
});
