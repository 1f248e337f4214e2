/**
 * A strict reader of the XML that signed documents need: elements, attributes, namespaces, text. No DOCTYPE,
 * no entities beyond the five built in, no processing instructions; every size has a bound. XML 1.0, Namespaces 1.0.
 */
import { CloisterError, fromUtf8 } from "@cloister/core";

export interface XmlAttribute {
  readonly prefix: string;
  readonly local: string;
  /** Empty for attributes without a prefix. */
  readonly namespace: string;
  readonly value: string;
}

export interface XmlElement {
  readonly prefix: string;
  readonly local: string;
  readonly namespace: string;
  readonly attributes: readonly XmlAttribute[];
  /** Namespaces in scope, by prefix; the default one under "". */
  readonly scope: ReadonlyMap<string, string>;
  readonly children: readonly (XmlElement | string)[];
}

const BYTES_MAX = 1024 * 1024;
const DEPTH_MAX = 32;
const NODES_MAX = 20_000;
const ATTRIBUTES_MAX = 64;
/** Every element holds its scope: many of many would cost more than they say. */
const SCOPE_MAX = 64;
export const XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace";
const XMLNS_NAMESPACE = "http://www.w3.org/2000/xmlns/";

/**
 * Reads a document and gives its root element. Comments are dropped, as canonicalization drops them.
 * @throws {CloisterError} `XML_MALFORMED`
 */
export function parseXml(bytes: Uint8Array): XmlElement {
  if (bytes.length > BYTES_MAX) throw malformed(0, "it is larger than 1 MiB");
  const text = decode(bytes).replaceAll(/\r\n?/g, "\n");
  return new Parser(text).document();
}

/** The text of an element: its own text and that of everything in it. */
export function textOf(element: XmlElement): string {
  return element.children.map((child) => (typeof child === "string" ? child : textOf(child))).join("");
}

/** The child elements of a name. */
export function childrenNamed(element: XmlElement, namespace: string, local: string): XmlElement[] {
  return element.children.filter(
    (child): child is XmlElement =>
      typeof child !== "string" && child.namespace === namespace && child.local === local,
  );
}

/** An attribute's value; without a namespace for attributes without a prefix. */
export function attributeOf(element: XmlElement, local: string, namespace = ""): string | undefined {
  return element.attributes.find((item) => item.local === local && item.namespace === namespace)?.value;
}

const NAME = /[A-Za-z_\u00c0-\ud7ff][\w.\-\u00b7\u00c0-\ud7ff]*/y;
const SPACE = /[ \t\n]*/y;
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

interface Name {
  readonly prefix: string;
  readonly local: string;
}

class Parser {
  readonly #text: string;
  #at = 0;
  #nodes = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): XmlElement {
    if (this.#text.startsWith("<?xml")) {
      const declaration = this.#until("?>");
      const encoding = /encoding\s*=\s*["']([^"']*)["']/.exec(declaration)?.[1] ?? "utf-8";
      if (!/^(?:utf-8|us-ascii)$/i.test(encoding))
        throw this.#wrong(`the encoding ${encoding.slice(0, 20)} is not UTF-8`);
    }
    this.#misc();
    const root = this.#element(new Map([["xml", XML_NAMESPACE]]), 0);
    this.#misc();
    if (this.#at !== this.#text.length) throw this.#wrong("something follows the root element");
    return root;
  }

  #misc(): void {
    for (this.#space(); this.#text.startsWith("<!--", this.#at); this.#space()) this.#comment();
  }

  #element(outer: ReadonlyMap<string, string>, depth: number): XmlElement {
    if (depth >= DEPTH_MAX) throw this.#wrong("elements are nested too deep");
    if (++this.#nodes > NODES_MAX) throw this.#wrong("there are too many elements");
    this.#expect("<");
    const name = this.#name();
    const { scope, attributes } = this.#attributes(outer);
    const element = { ...name, namespace: this.#resolve(name.prefix, scope), attributes, scope };
    if (this.#accept("/>")) return { ...element, children: [] };
    this.#expect(">");
    const children = this.#content(scope, depth);
    const closing = this.#name();
    if (closing.prefix !== name.prefix || closing.local !== name.local)
      throw this.#wrong("an end tag does not fit");
    this.#space();
    this.#expect(">");
    return { ...element, children };
  }

  /** Reads up to and including the `</` of the end tag. */
  #content(scope: ReadonlyMap<string, string>, depth: number): (XmlElement | string)[] {
    const children: (XmlElement | string)[] = [];
    const addText = (text: string): void => {
      const last = children.at(-1);
      if (text === "") return;
      if (typeof last === "string") children[children.length - 1] = last + text;
      else children.push(text);
    };
    for (;;) {
      const next = this.#text.indexOf("<", this.#at);
      if (next < 0) throw this.#wrong("an element does not end");
      addText(this.#unescape(this.#text.slice(this.#at, next), false));
      this.#at = next;
      if (this.#accept("</")) return children;
      if (this.#text.startsWith("<!--", this.#at)) this.#comment();
      else if (this.#accept("<![CDATA[")) addText(this.#until("]]>").slice(0, -3));
      else children.push(this.#element(scope, depth + 1));
    }
  }

  #attributes(outer: ReadonlyMap<string, string>): {
    scope: ReadonlyMap<string, string>;
    attributes: XmlAttribute[];
  } {
    const raw: (Name & { value: string })[] = [];
    let scope = outer;
    while (this.#space() && this.#text[this.#at] !== ">" && this.#text[this.#at] !== "/") {
      if (raw.length >= ATTRIBUTES_MAX) throw this.#wrong("an element has too many attributes");
      const name = this.#name();
      const value = this.#attributeValue();
      if (name.prefix === "xmlns" || (name.prefix === "" && name.local === "xmlns")) {
        scope = this.#declare(scope, outer, name.prefix === "" ? "" : name.local, value);
      } else raw.push({ ...name, value });
    }
    const attributes = raw.map((item) => ({
      ...item,
      namespace: item.prefix === "" ? "" : this.#resolve(item.prefix, scope),
    }));
    const names = new Set(attributes.map(({ namespace, local }) => `${namespace}\n${local}`));
    if (names.size !== attributes.length) throw this.#wrong("an attribute stands twice");
    return { scope, attributes };
  }

  #declare(
    scope: ReadonlyMap<string, string>,
    outer: ReadonlyMap<string, string>,
    prefix: string,
    uri: string,
  ): Map<string, string> {
    if (prefix === "xml" || prefix === "xmlns" || uri === XML_NAMESPACE || uri === XMLNS_NAMESPACE) {
      throw this.#wrong("a reserved namespace is declared");
    }
    if (prefix !== "" && uri === "") throw this.#wrong("a prefix is bound to no namespace");
    if (scope.size >= SCOPE_MAX) throw this.#wrong("there are too many namespaces");
    const own = scope === outer ? new Map(outer) : (scope as Map<string, string>);
    return own.set(prefix, uri);
  }

  #attributeValue(): string {
    this.#space();
    this.#expect("=");
    this.#space();
    const quote = this.#text[this.#at];
    if (quote !== '"' && quote !== "'") throw this.#wrong("an attribute's value is not quoted");
    this.#at++;
    const value = this.#until(quote).slice(0, -1);
    if (value.includes("<")) throw this.#wrong("an attribute's value holds <");
    return this.#unescape(value, true);
  }

  #resolve(prefix: string, scope: ReadonlyMap<string, string>): string {
    const uri = scope.get(prefix);
    if (uri === undefined && prefix !== "") throw this.#wrong(`the prefix "${prefix}" is not declared`);
    return uri ?? "";
  }

  #name(): Name {
    const first = this.#match(NAME);
    if (first === "") throw this.#wrong("a name is due");
    if (this.#text[this.#at] !== ":") return { prefix: "", local: first };
    this.#at++;
    const local = this.#match(NAME);
    if (local === "") throw this.#wrong("a name is due");
    return { prefix: first, local };
  }

  #comment(): void {
    this.#expect("<!--");
    this.#until("--");
    if (!this.#accept(">")) throw this.#wrong("a comment holds --");
  }

  /** Resolves references, and in attributes turns literal white space into blanks (XML 1.0 §3.3.3). */
  #unescape(text: string, attribute: boolean): string {
    const plain = attribute ? text.replaceAll(/[\t\n]/g, " ") : text;
    // eslint-disable-next-line no-control-regex -- these are what XML 1.0 §2.2 forbids
    if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(plain))
      throw this.#wrong("a character is not allowed");
    if (!plain.includes("&")) return plain;
    return plain.replaceAll(/&([^;]{0,10});?/g, (whole, name: string) => {
      const named = Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : undefined;
      if (!whole.endsWith(";")) throw this.#wrong("a reference is malformed");
      return named ?? this.#characterReference(name);
    });
  }

  #characterReference(name: string): string {
    const match = /^#(?:x([0-9a-fA-F]+)|([0-9]+))$/.exec(name);
    const code =
      match === null ? -1 : Number.parseInt(match[1] ?? match[2] ?? "", match[1] === undefined ? 10 : 16);
    const allowed =
      code === 9 ||
      code === 10 ||
      code === 13 ||
      (code >= 0x20 && code <= 0xd7ff) ||
      (code >= 0xe000 && code <= 0xfffd);
    if (!allowed) throw this.#wrong("a reference is not one that is allowed here");
    return String.fromCharCode(code);
  }

  #space(): true {
    this.#match(SPACE);
    return true;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }

  #accept(token: string): boolean {
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }

  #expect(token: string): void {
    if (!this.#accept(token)) throw this.#wrong(`"${token}" is due`);
  }

  /** Takes everything up to and including the token. */
  #until(token: string): string {
    const end = this.#text.indexOf(token, this.#at);
    if (end < 0) throw this.#wrong(`"${token}" is missing`);
    const taken = this.#text.slice(this.#at, end + token.length);
    this.#at = end + token.length;
    return taken;
  }

  #wrong(why: string): CloisterError {
    return malformed(this.#at, why);
  }
}

function decode(bytes: Uint8Array): string {
  try {
    const text = fromUtf8(bytes);
    return text.startsWith("\ufeff") ? text.slice(1) : text;
  } catch {
    throw malformed(0, "it is not UTF-8");
  }
}

function malformed(at: number, why: string): CloisterError {
  return new CloisterError("XML_MALFORMED", `The XML document cannot be read: at character ${at}, ${why}.`);
}
