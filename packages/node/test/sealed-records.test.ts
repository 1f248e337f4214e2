import { describe, expect, test } from "vitest";
import { utf8, type RecordStore } from "@cloister/core";
import { loadOrCreateKeys } from "../src/keys.ts";
import { SealedRecords } from "../src/sealed-records.ts";

const entropy = (length: number) => crypto.getRandomValues(new Uint8Array(length));
const key = entropy(32);

function memoryRecords(): RecordStore & { readonly raw: Map<string, Uint8Array> } {
  const raw = new Map<string, Uint8Array>();
  return {
    raw,
    read: async (name) => raw.get(name),
    write: async (name, record) => void raw.set(name, record),
    delete: async (name) => void raw.delete(name),
    list: async (prefix) => [...raw.keys()].filter((name) => name.startsWith(prefix)).toSorted(),
  };
}

describe("sealed records", () => {
  test("give back what was written, and show the host nothing of it", async () => {
    const inner = memoryRecords();
    const sealed = new SealedRecords(inner, key, entropy);
    await sealed.write("share", utf8("the secret"));
    expect(await sealed.read("share")).toEqual(utf8("the secret"));
    expect(Buffer.from(inner.raw.get("share") ?? []).includes("secret")).toBe(false);
  });

  test("do not open under another name", async () => {
    const inner = memoryRecords();
    const sealed = new SealedRecords(inner, key, entropy);
    await sealed.write("a", utf8("x"));
    inner.raw.set("b", inner.raw.get("a") as Uint8Array);
    await expect(sealed.read("b")).rejects.toMatchObject({ code: "SEALED_RECORD_UNREADABLE" });
  });

  test.each([0, 23, 24, 30])("do not open with byte %i changed", async (at) => {
    const inner = memoryRecords();
    const sealed = new SealedRecords(inner, key, entropy);
    await sealed.write("a", utf8("some record"));
    const bytes = (inner.raw.get("a") as Uint8Array).slice();
    bytes[at] = (bytes[at] as number) ^ 1;
    inner.raw.set("a", bytes);
    await expect(sealed.read("a")).rejects.toMatchObject({ code: "SEALED_RECORD_UNREADABLE" });
  });

  test("do not open with another measurement's key", async () => {
    const inner = memoryRecords();
    await new SealedRecords(inner, key, entropy).write("a", utf8("x"));
    const other = new SealedRecords(inner, entropy(32), entropy);
    await expect(other.read("a")).rejects.toMatchObject({ code: "SEALED_RECORD_UNREADABLE" });
  });
});

describe("a CVM's keys", () => {
  test("are made once and stay", async () => {
    const sealed = new SealedRecords(memoryRecords(), key, entropy);
    const first = await loadOrCreateKeys(sealed, entropy);
    expect(await loadOrCreateKeys(sealed, entropy)).toEqual(first);
    expect(first.settlement).toMatch(/^0x[0-9a-f]{40}$/);
  });

  test("give the address that the EVM gives", async () => {
    const { privateKeyToAddress } = await import("viem/accounts");
    const { settlement, settlementSecret } = await loadOrCreateKeys(memoryRecords(), entropy);
    const hex = `0x${Buffer.from(settlementSecret).toString("hex")}` as const;
    expect(settlement).toBe(privateKeyToAddress(hex).toLowerCase());
  });
});
