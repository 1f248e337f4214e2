import fc from "fast-check";
import { expect, test } from "vitest";
import { ContentMemo } from "../src/content-memo.ts";
import { forgetEverything, Memo } from "../src/memo.ts";

test("a memory forgets what was used least recently", () => {
  const memo = new Memo<number>(2);
  memo.set("a", 1);
  memo.set("b", 2);
  expect(memo.get("a")).toBe(1);
  memo.set("c", 3);
  expect([memo.get("a"), memo.get("b"), memo.get("c")]).toEqual([1, undefined, 3]);
});

test("a memory never holds more than it may", () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (keys) => {
      const memo = new Memo<string>(3);
      for (const key of keys) memo.set(key, key);
      const held = [...new Set(keys)].filter((key) => memo.get(key) === key);
      expect(held.length).toBeLessThanOrEqual(3);
      if (keys.length > 0) expect(memo.get(keys.at(-1) as string)).toBe(keys.at(-1));
    }),
  );
});

test("content is found by all of its bytes, absent ones included", () => {
  fc.assert(
    fc.property(
      fc.array(fc.option(fc.uint8Array({ maxLength: 200 }), { nil: undefined }), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (parts, at, change) => {
        const memo = new ContentMemo<string>(4);
        memo.set(parts, "known");
        expect(memo.get(parts.map((part) => part?.slice()))).toBe("known");
        const [first] = parts;
        if (first === undefined || first.length === 0) return;
        const changed = first.slice();
        changed[at % changed.length] = (changed[at % changed.length] as number) ^ change;
        expect(memo.get([changed, ...parts.slice(1)])).toBeUndefined();
        expect(memo.get([undefined, ...parts.slice(1)])).toBeUndefined();
      },
    ),
  );
});

test("a caller's reuse of its buffer does not change what is remembered", () => {
  const memo = new ContentMemo<string>(4);
  const buffer = new Uint8Array([1, 2, 3]);
  memo.set([buffer], "of 1 2 3");
  buffer[0] = 9;
  expect(memo.get([buffer])).toBeUndefined();
  expect(memo.get([new Uint8Array([1, 2, 3])])).toBe("of 1 2 3");
});

test("everything can be forgotten", () => {
  const memo = new Memo<number>(2);
  memo.set("a", 1);
  forgetEverything();
  expect(memo.get("a")).toBeUndefined();
});
