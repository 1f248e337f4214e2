import { concat, hkdfSha256, hmacSha256, toBase64, utf8, x25519PublicKey } from "@cloister/core";
import { describe, expect, test } from "vitest";
import {
  buildHeader,
  collect,
  generateIdentity,
  headerDigest,
  open,
  parseHeader,
  passphraseIdentity,
  passphraseRecipient,
  sealedError,
  unwrapFileKey,
  type Identity,
  type SealedErrorCode,
  type Stanza,
} from "../../src/index.ts";
import { createAead } from "../../src/primitives-noble.ts";
import { wrapX25519 } from "../../src/sealed/recipients.ts";
import { entropy } from "../release/group.ts";

/** Cases after C2SP age.md, each with a MAC that is right for what stands there: only the named deviation is wrong. */
const FILE_KEY = entropy(16);
const identity = generateIdentity(entropy);
const [stanza] = identity.recipient.wrap(FILE_KEY, entropy) as [Stanza];
const [scrypt] = passphraseRecipient("secret", 4).wrap(FILE_KEY, entropy) as [Stanza];
const base64 = (bytes: Uint8Array) => toBase64(bytes).replace(/=+$/, "");
const HEADER = new TextDecoder().decode(buildHeader([stanza], FILE_KEY).headerBytes);
const BODY = HEADER.slice(0, HEADER.indexOf("---"));
const SHARE = stanza.args[1] as string;

/** A sealed object whose header is this text, up to and including `---`, with its MAC behind a space. */
function objectOf(macInput: string, lastLine = (mac: string) => ` ${mac}\n`): Uint8Array {
  const mac = hmacSha256(hkdfSha256(FILE_KEY, new Uint8Array(0), utf8("header"), 32), utf8(macInput));
  const nonce = entropy(16);
  const { body, tag } = createAead(hkdfSha256(FILE_KEY, nonce, utf8("payload"), 32)).seal(
    Uint8Array.of(...new Uint8Array(11), 1),
    utf8("content"),
  );
  return concat(utf8(macInput + lastLine(base64(mac))), nonce, body, tag);
}

async function outcome(object: Uint8Array, by: Identity = identity): Promise<string> {
  try {
    return new TextDecoder().decode(await collect(await open([object], [by])));
  } catch (failure) {
    return (failure as { code: string }).code;
  }
}

const withStanza = (args: string, body: Uint8Array = stanza.body) =>
  `age-encryption.org/v1\n-> ${args}\n${base64(body)}\n---`;

test.each<[string, string]>([
  ["as we write it", `${BODY}---`],
  [
    "with stanzas of unknown types",
    BODY.replace("-> X", "-> grease a b %&!~\nAAAA\n-> empty\n\n-> X") + "---",
  ],
  [
    "with an unknown body of exactly one line",
    BODY.replace("-> X", `-> long\n${"A".repeat(64)}\n\n-> X`) + "---",
  ],
  [
    "with all characters that arguments may have",
    BODY.replace(
      "-> X",
      `-> ${Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)).join("")}\n\n-> X`,
    ) + "---",
  ],
])("a header %s is read", async (_, header) => {
  expect(await outcome(objectOf(header))).toBe("content");
});

describe("a header is refused", () => {
  test.each<[string, string]>([
    ["of another version", `${BODY}---`.replace("v1", "v2")],
    ["with Windows line ends", `${BODY}---`.replaceAll("\n", "\r\n")],
    ["after a blank line", `\n${BODY}---`],
  ])("%s: not age", async (_, header) => {
    expect(await outcome(objectOf(header))).toBe("SEALED_NOT_AGE");
  });

  test.each<[string, string]>([
    ["without stanzas", "age-encryption.org/v1\n---"],
    ["with a stanza that starts otherwise", BODY.replace("-> X", "=> X") + "---"],
    ["with a stanza that starts without its space", BODY.replace("-> X", "->X") + "---"],
    ["with an empty argument", BODY.replace("X25519 ", "X25519  ") + "---"],
    ["with a trailing space", BODY.replace(SHARE, `${SHARE} `) + "---"],
    ["with a stanza without arguments", BODY.replace(`X25519 ${SHARE}`, "") + "---"],
    ["with a foreign character", BODY.replace("X25519", "X\t25519") + "---"],
    ["with a letter that is not ASCII", BODY.replace("X25519", "Ü25519") + "---"],
    ["with a carriage return", BODY.replace(SHARE, `${SHARE}\r`) + "---"],
    ["with padding", BODY.replace(/\n$/, "=\n") + "---"],
    [
      "with base64 that is not canonical",
      BODY.replace(/.\n$/, (end) => `${end[0] === "B" ? "C" : "B"}\n`) + "---",
    ],
    ["with a line of 65", BODY.replace("-> X", `-> long\n${"A".repeat(68)}\n-> X`) + "---"],
    ["with a full line and no short one", BODY.replace("-> X", `-> long\n${"A".repeat(64)}\n-> X`) + "---"],
    ["with two short lines", BODY.replace("-> X", "-> two\nAAAA\nAAAA\n-> X") + "---"],
    ["without a body", "age-encryption.org/v1\n-> none\n---"],
  ])("%s", async (_, header) => {
    expect(await outcome(objectOf(header))).toBe("SEALED_HEADER_MALFORMED");
  });

  test.each<[string, (mac: string) => string]>([
    ["without its space", (mac) => `${mac}\n`],
    ["with two spaces", (mac) => `  ${mac}\n`],
    ["with a trailing space", (mac) => ` ${mac} \n`],
    ["cut", (mac) => ` ${mac.slice(0, -2)}\n`],
    ["missing", () => "\n"],
    ["padded", (mac) => ` ${mac}=\n`],
    ["not canonical", (mac) => ` ${mac.slice(0, -1)}${mac.endsWith("B") ? "C" : "B"}\n`],
  ])("with its MAC %s", async (_, lastLine) => {
    expect(await outcome(objectOf(`${BODY}---`, lastLine))).toBe("SEALED_HEADER_MALFORMED");
  });

  test("with another MAC", async () => {
    const other = (mac: string) => ` ${mac.startsWith("A") ? "B" : "A"}${mac.slice(1)}\n`;
    expect(await outcome(objectOf(`${BODY}---`, other))).toBe("SEALED_HEADER_MAC_WRONG");
  });

  test("with a stanza added or taken away after it was sealed", async () => {
    const sealed = new TextDecoder("latin1").decode(objectOf(`${BODY}---`));
    const added = Uint8Array.from(sealed.replace("-> X", "-> more\n\n-> X"), (char) => char.charCodeAt(0));
    expect(await outcome(added)).toBe("SEALED_HEADER_MAC_WRONG");
  });

  test.each([10, 22, 60, HEADER.length - 1])("cut after %i bytes", async (length) => {
    expect(await outcome(utf8(HEADER.slice(0, length)))).toBe("SEALED_TRUNCATED");
  });
});

describe("an X25519 stanza is refused", () => {
  test.each<[string, string]>([
    ["with an argument too many", withStanza(`X25519 ${SHARE} more`)],
    ["without a share", withStanza("X25519")],
    ["with a short share", withStanza(`X25519 ${base64(entropy(31))}`)],
    ["with a long share", withStanza(`X25519 ${base64(entropy(33))}`)],
    [
      "with a share that is not canonical",
      withStanza(`X25519 ${SHARE.slice(0, -1)}${SHARE.endsWith("B") ? "C" : "B"}`),
    ],
    ["with a share of low order", withStanza(`X25519 ${base64(new Uint8Array(32))}`)],
    ["with a long body", withStanza(`X25519 ${SHARE}`, entropy(33))],
    ["with a short body", withStanza(`X25519 ${SHARE}`, entropy(31))],
  ])("%s", async (_, header) => {
    expect(await outcome(objectOf(header))).toBe("SEALED_STANZA_MALFORMED");
  });

  test.each<[string, string]>([
    ["with a changed body", withStanza(`X25519 ${SHARE}`, entropy(32))],
    ["under a name in lower case", withStanza(`x25519 ${SHARE}`)],
    ["for somebody else", withStanza(`X25519 ${base64(x25519PublicKey(entropy(32)))}`)],
  ])("%s: it is for nobody here", async (_, header) => {
    expect(await outcome(objectOf(header))).toBe("SEALED_NO_IDENTITY_MATCHES");
  });

  test("that wraps a key of another length", async () => {
    const { stanza: long } = wrapX25519(entropy(24), identity.recipient.publicKey, entropy(32));
    expect(await outcome(objectOf(withStanza(long.args.join(" "), long.body)))).toBe(
      "SEALED_STANZA_MALFORMED",
    );
  });

  test("that would be sealed to a point of low order", () => {
    expect(() => wrapX25519(FILE_KEY, new Uint8Array(32), entropy(32))).toThrow(
      expect.objectContaining({ code: "SEALED_RECIPIENT_MALFORMED" }),
    );
  });
});

describe("a scrypt stanza", () => {
  const [type, salt] = scrypt.args as [string, string, string];
  const by = passphraseIdentity("secret");

  test("is read", async () => {
    expect(await outcome(objectOf(withStanza(scrypt.args.join(" "), scrypt.body)), by)).toBe("content");
  });

  test.each<[string, string]>([
    ["with a short salt", `${type} ${base64(entropy(15))} 4`],
    ["with a long salt", `${type} ${base64(entropy(17))} 4`],
    ["without a work factor", `${type} ${salt}`],
    ["with an argument too many", `${type} ${salt} 4 4`],
    ["with a work factor of zero", `${type} ${salt} 0`],
    ["with a leading zero", `${type} ${salt} 04`],
    ["with a plus", `${type} ${salt} +4`],
    ["with a minus", `${type} ${salt} -4`],
    ["with hexadecimal work", `${type} ${salt} 0x4`],
    ["with garbage behind the work", `${type} ${salt} 4a`],
    ["with an overflow", `${type} ${salt} 18446744073709551620`],
  ])("is refused %s", async (_, args) => {
    expect(await outcome(objectOf(withStanza(args, scrypt.body)), by)).toBe("SEALED_STANZA_MALFORMED");
  });

  test("is refused when it asks for gigabytes", async () => {
    expect(await outcome(objectOf(withStanza(`${type} ${salt} 23`, scrypt.body)), by)).toBe(
      "SEALED_WORK_FACTOR_TOO_LARGE",
    );
  });

  test("is refused beside another stanza", async () => {
    const both = new TextDecoder().decode(buildHeader([scrypt, stanza], FILE_KEY).macInput);
    expect(await outcome(objectOf(both), by)).toBe("SEALED_STANZA_MALFORMED");
  });

  test("opens with its passphrase only", async () => {
    const object = objectOf(withStanza(scrypt.args.join(" "), scrypt.body));
    expect(await outcome(object, passphraseIdentity("Secret"))).toBe("SEALED_PASSPHRASE_WRONG");
    expect(await outcome(object, identity)).toBe("SEALED_NO_IDENTITY_MATCHES");
  });
});

test("an object for keys of another kind says which", () => {
  const foreign = { args: ["ssh-ed25519", "iGSeTA", "share"], body: entropy(32) };
  const other = { args: ["-grease", "x"], body: entropy(5) };
  const sealed = (...stanzas: Stanza[]) => buildHeader(stanzas, FILE_KEY);
  expect(() => unwrapFileKey(sealed(foreign, other), [identity])).toThrow(
    expect.objectContaining({
      code: "SEALED_NO_IDENTITY_MATCHES",
      message: expect.stringContaining("ssh-ed25519"),
      hint: expect.stringContaining("age"),
    }),
  );
  expect(() => unwrapFileKey(sealed(foreign, scrypt), [identity])).not.toThrow("ssh-ed25519");
});

test.each<SealedErrorCode>([
  "SEALED_ARMOR_MALFORMED",
  "SEALED_HEADER_MALFORMED",
  "SEALED_HEADER_TOO_LARGE",
  "SEALED_HEADER_MAC_WRONG",
  "SEALED_STANZA_MALFORMED",
  "SEALED_PASSPHRASE_WRONG",
  "SEALED_WORK_FACTOR_TOO_LARGE",
  "SEALED_CHUNK_FORGED",
  "SEALED_TRUNCATED",
  "SEALED_TRAILING_BYTES",
  "SEALED_CHUNK_EMPTY",
  "SEALED_RECIPIENTS_MALFORMED",
])("%s comes with something to do", (code) => {
  expect(sealedError(code, "It is so.")).toMatchObject({ code, hint: expect.stringMatching(/^[A-Z].*\.$/) });
  expect(sealedError(code, "It is so.", { hint: "Do this." }).hint).toBe("Do this.");
});

test("a header reads back as it was written, and its digest covers all of it", () => {
  const header = buildHeader([stanza, { args: ["other"], body: entropy(48) }], FILE_KEY);
  const read = parseHeader(concat(header.headerBytes, entropy(100)));
  expect(read).toEqual(header);
  const changed = header.headerBytes.with(header.headerBytes.length - 3, 65);
  expect(headerDigest(parseHeader(changed))).not.toBe(headerDigest(header));
});
