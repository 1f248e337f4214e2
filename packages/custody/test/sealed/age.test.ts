import { execFileSync, spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAddress } from "@cloister/core";
import { afterAll, describe, expect, test } from "vitest";
import {
  armor,
  collect,
  formatIdentityFile,
  generateIdentity,
  groupRecipient,
  open,
  parseIdentityFile,
  parseRecipient,
  seal,
  unarmor,
  x25519Recipient,
} from "../../src/index.ts";
import { entropy } from "../release/group.ts";

const isInstalled = spawnSync("age", ["--version"]).status === 0;
const folder = await mkdtemp(join(tmpdir(), "cloister-age-"));
afterAll(() => rm(folder, { recursive: true }));
const path = (name: string) => join(folder, name);

describe.skipIf(!isInstalled)("the stock age tool, which has to be on the PATH", () => {
  const plaintext = entropy(200_000);

  test("opens ours with an identity file that we wrote", async () => {
    const identity = generateIdentity(entropy);
    await writeFile(path("ours.key"), formatIdentityFile(identity, "2027-01-01T00:00:00Z"));
    await writeFile(path("ours.age"), await collect(seal([plaintext], [identity.recipient], entropy)));
    execFileSync("age", ["-d", "-i", path("ours.key"), "-o", path("ours.out"), path("ours.age")]);
    expect(new Uint8Array(await readFile(path("ours.out")))).toEqual(plaintext);
  });

  test("opens what is sealed to the key-release group and to oneself: it skips the owner stanza", async () => {
    const identity = generateIdentity(entropy);
    const group = groupRecipient(
      x25519Recipient(generateIdentity(entropy).recipient.publicKey).text,
      parseAddress(`0x${"12".repeat(20)}`),
    );
    await writeFile(path("both.key"), formatIdentityFile(identity, "2027-01-01T00:00:00Z"));
    await writeFile(
      path("both.age"),
      await collect(armor(seal([plaintext], [group, identity.recipient], entropy))),
    );
    execFileSync("age", ["-d", "-i", path("both.key"), "-o", path("both.out"), path("both.age")]);
    expect(new Uint8Array(await readFile(path("both.out")))).toEqual(plaintext);
  });

  test("writes identities and files that we read", async () => {
    execFileSync("age-keygen", ["-o", path("theirs.key")], { stdio: "ignore" });
    const [identity] = parseIdentityFile(await readFile(path("theirs.key"), "utf8"));
    await writeFile(path("plain"), plaintext);
    for (const flags of [[], ["-a"]]) {
      const recipient = parseRecipient(identity.recipient.text).text;
      execFileSync("age", [...flags, "-r", recipient, "-o", path("theirs.age"), path("plain")]);
      const sealed = unarmor([new Uint8Array(await readFile(path("theirs.age")))]);
      expect(await collect(await open(sealed, [identity]))).toEqual(plaintext);
    }
  });
});
