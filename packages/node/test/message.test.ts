import { describe, expect, test } from "vitest";
import { MessageFields, refusalsBody } from "../src/message.ts";

const malformed = expect.objectContaining({ code: "REQUEST_MALFORMED" });

describe("the members of a CVM's message", () => {
  test.each([null, 1, "text", [1], new Uint8Array(3), new Map([[1, 2]])])(
    "are not looked for in %j",
    (body) => {
      expect(() => new MessageFields(body)).toThrow(malformed);
    },
  );

  const fields = new MessageFields({
    text: "a",
    bytes: new Uint8Array(3),
    count: 2,
    list: [new Uint8Array(1)],
    deep: { x: 1 },
  });

  test("are read when they have their form", () => {
    expect(fields.text("text")).toBe("a");
    expect(fields.bytes("bytes", 3)).toEqual(new Uint8Array(3));
    expect(fields.count("count")).toBe(2);
    expect(fields.byteList("list")).toHaveLength(1);
    expect(fields.fields("deep").count("x")).toBe(1);
  });

  test.each([
    ["a missing one", () => fields.text("none")],
    ["bytes of another length", () => fields.bytes("bytes", 4)],
    ["a text that is no count", () => fields.count("text")],
    ["a text that is no flag", () => fields.flag("text")],
    ["a negative count", () => new MessageFields({ n: -1 }).count("n")],
    ["a list with something else in it", () => new MessageFields({ list: [1] }).byteList("list")],
    [
      "a list without end",
      () => new MessageFields({ list: Array.from({ length: 65 }, () => new Uint8Array(0)) }).byteList("list"),
    ],
    ["a record that is none", () => fields.fields("text")],
    ["refusals that are none", () => new MessageFields({ refusals: [1] }).refusals()],
  ])("%s is refused", (_, read) => {
    expect(read).toThrow(malformed);
  });

  test("carry refusals there and back", () => {
    const refusals = [{ code: "A_CODE", reason: "A reason." }];
    expect(new MessageFields(refusalsBody(refusals)).refusals()).toEqual(refusals);
    expect(new MessageFields({}).refusals()).toEqual([]);
  });
});
