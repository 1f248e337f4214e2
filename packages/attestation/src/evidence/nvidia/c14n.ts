/**
 * Canonical XML without comments: inclusive 1.0 and 1.1 (W3C REC-xml-c14n-20010315, xml-c14n11) and
 * exclusive (REC-xml-exc-c14n-20020718), of a whole element with its scope.
 */
import { CloisterError } from "@cloister/core";
import { XML_NAMESPACE, type XmlAttribute, type XmlElement } from "./xml.ts";

export type C14nMethod =
  | { readonly kind: "inclusive"; readonly version: "1.0" | "1.1" }
  | { readonly kind: "exclusive"; readonly inclusivePrefixes: readonly string[] };

/** An element to be written: `left` is left out (the signature, for an enveloped one); `ancestors` come root first. */
export interface C14nInput {
  readonly apex: XmlElement;
  readonly ancestors?: readonly XmlElement[];
  readonly left?: XmlElement | undefined;
}

/**
 * Writes the canonical form.
 * @throws {CloisterError} `XML_SIGNATURE_UNSUPPORTED` for `xml:base` above the apex, whose fix-up no signer here needs.
 */
export function canonicalize({ apex, ancestors = [], left }: C14nInput, method: C14nMethod): string {
  const pieces: string[] = [];
  const inherited =
    method.kind === "inclusive" ? inheritedXmlAttributes(apex, ancestors, method.version) : [];
  write(apex, new Map(), inherited, { method, left, pieces });
  return pieces.join("");
}

interface Output {
  readonly method: C14nMethod;
  readonly left: XmlElement | undefined;
  readonly pieces: string[];
}

function write(
  element: XmlElement,
  rendered: ReadonlyMap<string, string>,
  inherited: readonly XmlAttribute[],
  output: Output,
): void {
  const { pieces, left, method } = output;
  const name = element.prefix === "" ? element.local : `${element.prefix}:${element.local}`;
  const declarations = namespacesToRender(element, rendered, method);
  pieces.push(`<${name}`);
  for (const [prefix, uri] of declarations) {
    pieces.push(` ${prefix === "" ? "xmlns" : `xmlns:${prefix}`}="${escapeAttribute(uri)}"`);
  }
  for (const { prefix, local, value } of [...element.attributes, ...inherited].toSorted(byNamespaceAndName)) {
    pieces.push(` ${prefix === "" ? local : `${prefix}:${local}`}="${escapeAttribute(value)}"`);
  }
  pieces.push(">");
  const below = declarations.length === 0 ? rendered : new Map([...rendered, ...declarations]);
  for (const child of element.children) {
    if (typeof child === "string") pieces.push(escapeText(child));
    else if (child !== left) write(child, below, [], output);
  }
  pieces.push(`</${name}>`);
}

/** The declarations that the element needs and that no element above it in the output has made. */
function namespacesToRender(
  element: XmlElement,
  rendered: ReadonlyMap<string, string>,
  method: C14nMethod,
): [string, string][] {
  const wanted =
    method.kind === "inclusive" ? element.scope.keys() : visiblyUsed(element, method.inclusivePrefixes);
  const declarations: [string, string][] = [];
  for (const prefix of new Set(wanted)) {
    if (prefix === "xml") continue;
    const uri = element.scope.get(prefix) ?? "";
    if ((rendered.get(prefix) ?? "") !== uri) declarations.push([prefix, uri]);
  }
  return declarations.toSorted(([a], [b]) => compare(a, b));
}

function visiblyUsed(element: XmlElement, inclusivePrefixes: readonly string[]): string[] {
  const own = [
    element.prefix,
    ...element.attributes.map(({ prefix }) => prefix).filter((prefix) => prefix !== ""),
  ];
  const listed = inclusivePrefixes.filter((prefix) => element.scope.has(prefix));
  return [...own, ...listed];
}

/** Attributes of the xml namespace that the apex takes over from above (c14n §2.4; 1.1 leaves xml:id behind). */
function inheritedXmlAttributes(
  apex: XmlElement,
  ancestors: readonly XmlElement[],
  version: "1.0" | "1.1",
): XmlAttribute[] {
  const found = new Map<string, XmlAttribute>();
  for (const ancestor of ancestors) {
    for (const attribute of ancestor.attributes) {
      if (attribute.namespace !== XML_NAMESPACE) continue;
      if (version === "1.1" && attribute.local === "id") continue;
      if (version === "1.1" && attribute.local === "base") {
        throw new CloisterError(
          "XML_SIGNATURE_UNSUPPORTED",
          "The signed document sets xml:base above its signature.",
        );
      }
      found.set(attribute.local, attribute);
    }
  }
  for (const { namespace, local } of apex.attributes) if (namespace === XML_NAMESPACE) found.delete(local);
  return [...found.values()];
}

function byNamespaceAndName(a: XmlAttribute, b: XmlAttribute): number {
  return compare(a.namespace, b.namespace) || compare(a.local, b.local);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const TEXT_ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\r": "&#xD;",
};
const ATTRIBUTE_ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  '"': "&quot;",
  "\t": "&#x9;",
  "\n": "&#xA;",
  "\r": "&#xD;",
};

function escapeText(text: string): string {
  return text.replaceAll(/[&<>\r]/g, (char) => TEXT_ESCAPES[char] as string);
}

function escapeAttribute(text: string): string {
  return text.replaceAll(/[&<"\t\n\r]/g, (char) => ATTRIBUTE_ESCAPES[char] as string);
}
