import { utf8 } from "@cloister/core";
import { describe, expect, test } from "vitest";
import { canonicalize, type C14nMethod } from "../../src/evidence/nvidia/c14n.ts";
import { parseXml, type XmlElement } from "../../src/evidence/nvidia/xml.ts";

const INCLUSIVE: C14nMethod = { kind: "inclusive", version: "1.0" };
const EXCLUSIVE: C14nMethod = { kind: "exclusive", inclusivePrefixes: [] };

function whole(xml: string, method: C14nMethod = INCLUSIVE): string {
  return canonicalize({ apex: parseXml(utf8(xml)) }, method);
}

function child(root: XmlElement): XmlElement {
  const [first] = root.children;
  if (first === undefined || typeof first === "string") throw new Error("the test's document has no child");
  return first;
}

describe("inclusive canonical XML (examples after W3C xml-c14n §3)", () => {
  test.each([
    ["start and end tags", "<doc><e1   /><e2   ></e2></doc>", "<doc><e1></e1><e2></e2></doc>"],
    [
      "attributes by namespace, then name",
      '<e xmlns:b="http://b" xmlns:a="http://a" b:attr="2" a:attr="1" attr2="x" attr="y"/>',
      '<e xmlns:a="http://a" xmlns:b="http://b" attr="y" attr2="x" a:attr="1" b:attr="2"></e>',
    ],
    [
      "superfluous declarations",
      '<a xmlns="http://x"><b xmlns="http://x" xmlns:q="http://q"/></a>',
      '<a xmlns="http://x"><b xmlns:q="http://q"></b></a>',
    ],
    [
      "a default namespace taken back",
      '<a xmlns="http://x"><b xmlns=""/></a>',
      '<a xmlns="http://x"><b xmlns=""></b></a>',
    ],
    [
      "references",
      "<a b='&#x9;&#xA;&quot;&lt;&amp;>'>&#xD;&lt;&gt;&amp;\"</a>",
      '<a b="&#x9;&#xA;&quot;&lt;&amp;>">&#xD;&lt;&gt;&amp;"</a>',
    ],
    ["white space in attributes", "<a b='x\ty\nz'/>", '<a b="x y z"></a>'],
    ["line ends", "<a>x\r\ny\rz</a>", "<a>x\ny\nz</a>"],
    ["comments and CDATA", "<a><!-- c --><![CDATA[<&]]>t</a>", "<a>&lt;&amp;t</a>"],
    ["a declaration", "<?xml version='1.0' encoding='UTF-8'?>\n<a>é</a>\n", "<a>é</a>"],
  ])("evens out %s", (_, xml, canonical) => {
    expect(whole(xml)).toBe(canonical);
  });

  test("takes namespaces and xml attributes of the ancestors along", () => {
    const root = parseXml(utf8('<r xmlns="http://r" xmlns:u="http://u" xml:lang="en" xml:id="i"><c/></r>'));
    const apex = child(root);
    expect(canonicalize({ apex, ancestors: [root] }, INCLUSIVE)).toBe(
      '<c xmlns="http://r" xmlns:u="http://u" xml:id="i" xml:lang="en"></c>',
    );
    expect(canonicalize({ apex, ancestors: [root] }, { kind: "inclusive", version: "1.1" })).toBe(
      '<c xmlns="http://r" xmlns:u="http://u" xml:lang="en"></c>',
    );
  });

  test("refuses a base to be fixed up", () => {
    const root = parseXml(utf8('<r xml:base="http://b"><c/></r>'));
    const write = (): string =>
      canonicalize({ apex: child(root), ancestors: [root] }, { kind: "inclusive", version: "1.1" });
    expect(write).toThrow(expect.objectContaining({ code: "XML_SIGNATURE_UNSUPPORTED" }));
  });
});

describe("exclusive canonical XML", () => {
  test("declares only what is visibly used", () => {
    const xml = '<a:r xmlns:a="http://a" xmlns:b="http://b" xmlns="http://d"><b:c b:x="1"/><d/></a:r>';
    expect(whole(xml, EXCLUSIVE)).toBe(
      '<a:r xmlns:a="http://a"><b:c xmlns:b="http://b" b:x="1"></b:c><d xmlns="http://d"></d></a:r>',
    );
  });

  test("declares what its list names as well", () => {
    const xml = '<r xmlns:a="http://a" xmlns:b="http://b"/>';
    expect(whole(xml, { kind: "exclusive", inclusivePrefixes: ["b"] })).toBe('<r xmlns:b="http://b"></r>');
  });
});
