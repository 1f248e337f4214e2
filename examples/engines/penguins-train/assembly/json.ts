import { fail } from "./wasi";

/** A JSON value. Which members count depends on `kind`. */
export class Json {
  kind: JsonKind = JsonKind.Null;
  text: string = "";
  number: f64 = 0;
  truth: bool = false;
  items: Json[] = [];
  names: string[] = [];

  /** The named member of an object, or null. */
  member(name: string): Json | null {
    const position = this.names.indexOf(name);
    return position < 0 ? null : this.items[position];
  }
}

export enum JsonKind {
  Null,
  Boolean,
  Number,
  Text,
  Array,
  Object,
}

const DEPTH_MAX = 16;

/** Reads one JSON document (RFC 8259). Ends the run with one sentence on bad input. */
export function parseJson(name: string, text: string): Json {
  const reader = new JsonReader(name, text);
  const value = reader.value(0);
  reader.end();
  return value;
}

class JsonReader {
  private at: i32 = 0;

  constructor(
    private name: string,
    private text: string,
  ) {}

  value(depth: i32): Json {
    if (depth > DEPTH_MAX) this.malformed("it is nested too deeply");
    this.space();
    const first = this.peek();
    const json = new Json();
    if (first == "{") this.object(json, depth);
    else if (first == "[") this.array(json, depth);
    else if (first == '"') {
      json.kind = JsonKind.Text;
      json.text = this.string();
    } else if (this.word("true")) {
      json.kind = JsonKind.Boolean;
      json.truth = true;
    } else if (this.word("false")) json.kind = JsonKind.Boolean;
    else if (!this.word("null")) this.number(json);
    return json;
  }

  end(): void {
    this.space();
    if (this.at < this.text.length) this.malformed("something follows the document");
  }

  private object(json: Json, depth: i32): void {
    json.kind = JsonKind.Object;
    this.at++;
    this.space();
    if (this.take("}")) return;
    while (true) {
      this.space();
      if (this.peek() != '"') this.malformed("a member name is missing");
      const name = this.string();
      if (json.names.includes(name)) this.malformed('the member "' + name + '" stands twice');
      this.space();
      if (!this.take(":")) this.malformed("a colon is missing");
      json.names.push(name);
      json.items.push(this.value(depth + 1));
      this.space();
      if (this.take("}")) return;
      if (!this.take(",")) this.malformed("a comma is missing");
    }
  }

  private array(json: Json, depth: i32): void {
    json.kind = JsonKind.Array;
    this.at++;
    this.space();
    if (this.take("]")) return;
    while (true) {
      json.items.push(this.value(depth + 1));
      this.space();
      if (this.take("]")) return;
      if (!this.take(",")) this.malformed("a comma is missing");
    }
  }

  private string(): string {
    this.at++;
    let text = "";
    while (true) {
      if (this.at >= this.text.length) this.malformed("a string is not closed");
      const char = this.text.charAt(this.at++);
      if (char == '"') return text;
      if (char.charCodeAt(0) < 0x20) this.malformed("a string holds a control character");
      text += char == "\\" ? this.escape() : char;
    }
  }

  private escape(): string {
    const char = this.peek();
    this.at++;
    if (char == '"' || char == "\\" || char == "/") return char;
    if (char == "n") return "\n";
    if (char == "t") return "\t";
    if (char == "r") return "\r";
    if (char == "b") return "\b";
    if (char == "f") return "\f";
    if (char != "u" || this.at + 4 > this.text.length) this.malformed("an escape is unknown");
    let unit: i32 = 0;
    for (let i = 0; i < 4; i++) {
      const digit = hexDigit(this.text.charCodeAt(this.at++));
      if (digit < 0) this.malformed("an escape is unknown");
      unit = unit * 16 + digit;
    }
    return String.fromCharCode(unit);
  }

  private number(json: Json): void {
    const start = this.at;
    while (this.at < this.text.length && "+-.0123456789eE".includes(this.text.charAt(this.at))) this.at++;
    const digits = this.text.substring(start, this.at);
    if (digits == "" || !isNumber(digits)) this.malformed("a value is malformed");
    json.kind = JsonKind.Number;
    json.number = parseFloat(digits);
  }

  private word(word: string): bool {
    if (!this.text.startsWith(word, this.at)) return false;
    this.at += word.length;
    return true;
  }

  private take(char: string): bool {
    if (this.peek() != char) return false;
    this.at++;
    return true;
  }

  private peek(): string {
    return this.text.charAt(this.at);
  }

  private space(): void {
    while (this.at < this.text.length && " \t\r\n".includes(this.text.charAt(this.at))) this.at++;
  }

  private malformed(why: string): void {
    fail(this.name + " is not JSON: " + why + " at character " + (this.at + 1).toString() + ".");
  }
}

/** Tells whether the whole text is one finite decimal number: `parseFloat` alone ignores what follows. */
export function isNumber(text: string): bool {
  let at = 0;
  if (at < text.length && (text.charAt(at) == "-" || text.charAt(at) == "+")) at++;
  const whole = digits(text, at);
  at += whole;
  let fraction = 0;
  if (at < text.length && text.charAt(at) == ".") {
    fraction = digits(text, ++at);
    at += fraction;
  }
  if (whole + fraction == 0) return false;
  if (at < text.length && (text.charAt(at) == "e" || text.charAt(at) == "E")) {
    at++;
    if (at < text.length && (text.charAt(at) == "-" || text.charAt(at) == "+")) at++;
    const exponent = digits(text, at);
    if (exponent == 0) return false;
    at += exponent;
  }
  return at == text.length && isFinite(parseFloat(text));
}

function hexDigit(unit: i32): i32 {
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30;
  const letter = unit | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}

function digits(text: string, start: i32): i32 {
  let at = start;
  while (at < text.length && text.charCodeAt(at) >= 0x30 && text.charCodeAt(at) <= 0x39) at++;
  return at - start;
}

/** Builds JSON text member by member; the caller keeps the order. */
export class JsonWriter {
  private parts: string[] = [];
  private comma: bool = false;

  open(bracket: string): JsonWriter {
    this.separate();
    this.parts.push(bracket);
    this.comma = false;
    return this;
  }

  close(bracket: string): JsonWriter {
    this.parts.push(bracket);
    this.comma = true;
    return this;
  }

  name(name: string): JsonWriter {
    this.separate();
    this.parts.push(quote(name) + ":");
    this.comma = false;
    return this;
  }

  string(text: string): JsonWriter {
    return this.raw(quote(text));
  }

  integer(value: i64): JsonWriter {
    return this.raw(value.toString());
  }

  /** A finite number in its shortest form that reads back the same. */
  number(value: f64): JsonWriter {
    let text = value.toString();
    if (text.endsWith(".0")) text = text.substring(0, text.length - 2);
    return this.raw(isFinite(value) ? text : "null");
  }

  raw(text: string): JsonWriter {
    this.separate();
    this.parts.push(text);
    this.comma = true;
    return this;
  }

  text(): string {
    return this.parts.join("") + "\n";
  }

  private separate(): void {
    if (this.comma) this.parts.push(",");
  }
}

function quote(text: string): string {
  let quoted = '"';
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit == 0x22 || unit == 0x5c) quoted += "\\" + text.charAt(i);
    else if (unit < 0x20) quoted += "\\u" + unit.toString(16).padStart(4, "0");
    else quoted += text.charAt(i);
  }
  return quoted + '"';
}
