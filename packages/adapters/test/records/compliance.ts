import type { RecordStore } from "@cloister/core";
import { expect, test } from "vitest";

/** What every record store must do. */
export function recordStoreCompliance(create: () => Promise<RecordStore>): void {
  const bytes = (text: string) => new TextEncoder().encode(text);

  test("reads what was written last", async () => {
    const records = await create();
    await records.write("term", bytes("1"));
    await records.write("term", bytes("two"));
    expect(await records.read("term")).toEqual(bytes("two"));
  });

  test("tells an empty record from none", async () => {
    const records = await create();
    await records.write("empty", new Uint8Array(0));
    expect(await records.read("empty")).toEqual(new Uint8Array(0));
    expect(await records.read("none")).toBeUndefined();
  });

  test("lists names by prefix, sorted", async () => {
    const records = await create();
    for (const name of ["order/b", "order/a", "term", "order"]) await records.write(name, bytes(name));
    expect(await records.list("order/")).toEqual(["order/a", "order/b"]);
    expect(await records.list("")).toEqual(["order", "order/a", "order/b", "term"]);
    expect(await records.list("x")).toEqual([]);
  });

  test("keeps names apart that a file system might mix up", async () => {
    const records = await create();
    const names = ["..", ".", "a/../b", "b", "a%2Fb", "a/b", "ü", "a b", "../../escape", "x.record"];
    for (const name of names) await records.write(name, bytes(name));
    for (const name of names) expect(await records.read(name)).toEqual(bytes(name));
    expect(await records.list("")).toEqual(names.toSorted());
  });

  test("forgets what is deleted, and what was never there", async () => {
    const records = await create();
    await records.write("a", bytes("a"));
    await records.delete("a");
    await records.delete("a");
    expect(await records.read("a")).toBeUndefined();
    expect(await records.list("")).toEqual([]);
  });

  test("a reader sees one of the records written at the same time, whole", async () => {
    const records = await create();
    const candidates = ["a", "b", "c", "d"].map((letter) => bytes(letter.repeat(10_000)));
    await Promise.all(candidates.map((record) => records.write("contended", record)));
    expect(candidates).toContainEqual(await records.read("contended"));
    expect(await records.list("")).toEqual(["contended"]);
  });
}
