import { describe, expect, test } from "vitest";
import {
  formatIdentityFile,
  generateIdentity,
  hybridIdentity,
  parseIdentity,
  parseIdentityFile,
  parseRecipient,
  parseRecipientFile,
} from "../../src/index.ts";
import { entropy } from "../release/group.ts";

const identity = generateIdentity(entropy);
const hybrid = hybridIdentity(entropy(32));

test.each([identity, hybrid])("an identity and its recipient read back as they are written", (key) => {
  expect(parseIdentity(key.text).text).toBe(key.text);
  expect(parseIdentity(key.text).recipient.text).toBe(key.recipient.text);
  expect(parseRecipient(key.recipient.text).text).toBe(key.recipient.text);
});

test("an identity file holds comments, blank lines and several identities", () => {
  const text = `${formatIdentityFile(identity, "2027-01-01T00:00:00Z")}\r\n\n# more\n  ${hybrid.text}\r\n`;
  expect(parseIdentityFile(text).map((key) => key.text)).toEqual([identity.text, hybrid.text]);
});

test("a recipients file holds comments and several recipients", () => {
  const text = `# ours\n${identity.recipient.text}\n\n${hybrid.recipient.text}\n`;
  expect(parseRecipientFile(text).map((recipient) => recipient.text)).toEqual([
    identity.recipient.text,
    hybrid.recipient.text,
  ]);
});

describe("refused", () => {
  const changed = (text: string, at: number) =>
    text.slice(0, at) + (text[at] === "q" ? "p" : "q") + text.slice(at + 1);

  test.each([
    ["nothing", ""],
    ["a changed letter", changed(identity.recipient.text, 20)],
    ["upper case", identity.recipient.text.toUpperCase()],
    ["mixed case", identity.recipient.text.replace("q", "Q").replace("p", "P")],
    ["a cut one", identity.recipient.text.slice(0, -1)],
    ["an identity", identity.text],
    ["an SSH key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB"],
    ["another prefix", "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t"],
  ])("as a recipient: %s", (_, text) => {
    expect(() => parseRecipient(text)).toThrow(
      expect.objectContaining({ code: "SEALED_RECIPIENT_MALFORMED" }),
    );
  });

  test.each([
    ["nothing", ""],
    ["a changed letter", changed(identity.text, 30)],
    ["lower case", identity.text.toLowerCase()],
    ["a recipient", identity.recipient.text],
  ])("as an identity: %s, without showing it", (_, text) => {
    expect(() => parseIdentity(text)).toThrow(expect.objectContaining({ code: "SEALED_IDENTITY_MALFORMED" }));
    expect(() => parseIdentity(text)).not.toThrow(
      expect.objectContaining({ message: expect.stringContaining("SECRET") }),
    );
  });

  test.each([
    ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@here", "SSH key"],
    ["ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAA", "SSH key"],
    ["age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "plugin"],
  ])("%s as a recipient says what kind of key it is", (text, kind) => {
    expect(() => parseRecipient(text)).toThrow(kind);
    expect(() => parseRecipientFile(`# team\n${text}\n`)).toThrow(/^Line 2 of the recipients file/);
  });

  test.each([
    [["-----BEGIN", "OPENSSH PRIVATE", "KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU"].join(" "), "SSH key"],
    ["AGE-PLUGIN-YUBIKEY-1QQPQZQYSTZWSC0F3", "plugin"],
  ])("%j as an identity says what kind of key it is, without showing it", (text, kind) => {
    expect(() => parseIdentityFile(text)).toThrow(new RegExp(`^Line 1 of the identity file.*${kind}`));
    expect(() => parseIdentityFile(text)).not.toThrow(/YUBIKEY|b3B/);
  });

  test("an identity file without identities, or with a bad line, which is named", () => {
    expect(() => parseIdentityFile("# nothing\n")).toThrow("no identity");
    expect(() => parseIdentityFile(`# a\n${identity.text}\nnonsense\n`)).toThrow("Line 3");
    expect(() => parseRecipientFile("\n")).toThrow("no recipient");
  });
});
