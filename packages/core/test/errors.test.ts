import { expect, test } from "vitest";
import { accept, acceptUnless, assertInvariant, CloisterError, codeOf, refuse } from "../src/index.ts";

test("a verdict without refusals holds the value, which is built only then", () => {
  expect(accept(1)).toEqual({ ok: true, value: 1 });
  expect(acceptUnless([], () => 1)).toEqual({ ok: true, value: 1 });
  const verdict = acceptUnless([{ code: "A_B", reason: "r." }], () => {
    throw new Error("must not be built");
  });
  expect(verdict).toEqual({ ok: false, refusals: [{ code: "A_B", reason: "r." }] });
});

test("every refusal is kept, in order", () => {
  const refusals = [
    { code: "A_A", reason: "a." },
    { code: "B_B", reason: "b.", hint: "h." },
  ];
  expect(acceptUnless(refusals, () => 1)).toEqual({ ok: false, refusals });
});

test("a hint is left out rather than undefined", () => {
  expect(refuse("A_B", "r.")).toEqual({ ok: false, refusals: [{ code: "A_B", reason: "r." }] });
  expect(refuse("A_B", "r.", "h.")).toEqual({
    ok: false,
    refusals: [{ code: "A_B", reason: "r.", hint: "h." }],
  });
});

test("refusals become an error that leads with the first and keeps them all", () => {
  const refusals = [
    { code: "A_A", reason: "a.", hint: "h." },
    { code: "B_B", reason: "b." },
  ] as const;
  const error = CloisterError.fromRefusals(refusals);
  expect(error).toMatchObject({ code: "A_A", message: "a.", hint: "h.", details: { refusals } });
  expect(CloisterError.fromRefusals([refusals[1]]).hint).toBeUndefined();
});

test("an error keeps its cause and its details", () => {
  const cause = new Error("below");
  const error = new CloisterError("A_B", "above.", { cause, details: { line: 3 } });
  expect(error.cause).toBe(cause);
  expect(error.details).toEqual({ line: 3 });
  expect(error).toBeInstanceOf(Error);
});

test("the code of a foreign throw is the fallback, unless it carries one", () => {
  expect(codeOf(new CloisterError("A_B", "r."))).toBe("A_B");
  expect(codeOf(Object.assign(new Error("x"), { code: "ENOENT" }))).toBe("ENOENT");
  expect(codeOf(Object.assign(new Error("x"), { code: 7 }))).toBe("INTERNAL");
  expect(codeOf("text", "OTHER")).toBe("OTHER");
  expect(codeOf(null)).toBe("INTERNAL");
});

test("a broken invariant stops the program and says which", () => {
  expect(() => assertInvariant(true, "fine")).not.toThrow();
  expect(() => assertInvariant(false, "sums balance")).toThrow("invariant broken: sums balance");
});
