import { CloisterError, type Cbor, type Refusal } from "@cloister/core";

/** Typed access to the members of a request or an answer of another CVM. Every miss is `REQUEST_MALFORMED`. */
export class MessageFields {
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(body: Cbor) {
    const isRecord =
      typeof body === "object" && body !== null && !Array.isArray(body) && !(body instanceof Map);
    if (!isRecord || body instanceof Uint8Array) throw malformed("its body is not a record");
    this.#fields = body as Readonly<Record<string, unknown>>;
  }

  bytes(name: string, length?: number): Uint8Array {
    const value = this.#fields[name];
    if (!(value instanceof Uint8Array)) throw malformed(`"${name}" is not a byte string`);
    if (length !== undefined && value.length !== length)
      throw malformed(`"${name}" is not ${length} bytes long`);
    return value;
  }

  text(name: string): string {
    const value = this.#fields[name];
    if (typeof value !== "string" || value.length > 1_024) throw malformed(`"${name}" is not a short text`);
    return value;
  }

  count(name: string): number {
    const value = this.#fields[name];
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw malformed(`"${name}" is not a count`);
    return value as number;
  }

  flag(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value !== "boolean") throw malformed(`"${name}" is not true or false`);
    return value;
  }

  byteList(name: string): readonly Uint8Array[] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || value.length > 64 || !value.every((item) => item instanceof Uint8Array)) {
      throw malformed(`"${name}" is not a list of byte strings`);
    }
    return value;
  }

  /** A short list of records. */
  list(name: string): MessageFields[] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || value.length > 64) throw malformed(`"${name}" is not a short list`);
    return value.map((item) => new MessageFields(item as Cbor));
  }

  fields(name: string): MessageFields {
    return new MessageFields((this.#fields[name] ?? null) as Cbor);
  }

  /** The refusals that an answer carries instead of what was asked for; empty when it carries none. */
  refusals(): Refusal[] {
    const value = this.#fields["refusals"];
    if (value === undefined) return [];
    if (!Array.isArray(value) || value.length > 64) throw malformed(`"refusals" is not a short list`);
    return value.map((item) => {
      const refusal = new MessageFields(item as Cbor);
      return { code: refusal.text("code").slice(0, 80), reason: refusal.text("reason") };
    });
  }
}

/** Refusals as an answer carries them. */
export function refusalsBody(refusals: readonly Refusal[]): Cbor {
  return { refusals: refusals.map(({ code, reason }) => ({ code, reason: reason.slice(0, 1_000) })) };
}

/** What a node says to a request or a notice that it has no answer for. */
export function methodUnknown(method: string): CloisterError {
  return new CloisterError("METHOD_UNKNOWN", `This CVM answers no "${method.slice(0, 80)}".`);
}

function malformed(why: string): CloisterError {
  return new CloisterError("REQUEST_MALFORMED", `A CVM's message is malformed: ${why}.`);
}
