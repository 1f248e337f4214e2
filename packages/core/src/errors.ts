/**
 * The three kinds of things that go wrong.
 *
 * Bad input throws an error that carries a stable `code` (`CloisterError` or an error class of the
 * module's own that has the same shape). A refusal is a value that lists every failed check.
 * A bug is an assertion, which stays on in production.
 */

/** One failed check: what was wrong, and what the reader can do about it. */
export interface Refusal {
  /** Stable, SCREAMING_SNAKE, prefixed with the area: `TDX_SIGNATURE_INVALID`. */
  readonly code: string;
  /** One sentence: what was wrong and where. */
  readonly reason: string;
  /** One sentence: what to do. */
  readonly hint?: string;
}

/** Either a value, or every reason why there is none. */
export type Verdict<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly refusals: readonly [Refusal, ...Refusal[]] };

/** Builds the positive verdict. */
export function accept<T>(value: T): Verdict<T> {
  return { ok: true, value };
}

/** Builds a negative verdict with one reason. */
export function refuse(code: string, reason: string, hint?: string): Verdict<never> {
  return { ok: false, refusals: [hint === undefined ? { code, reason } : { code, reason, hint }] };
}

/** Builds a verdict that is negative exactly when the list is not empty. */
export function acceptUnless<T>(refusals: readonly Refusal[], value: () => T): Verdict<T> {
  const [first, ...rest] = refusals;
  return first === undefined ? accept(value()) : { ok: false, refusals: [first, ...rest] };
}

/** Bad input or an unusable environment: a stable code, one sentence, and what to do. */
export class CloisterError extends Error {
  override readonly name = "CloisterError";
  readonly code: string;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: string,
    message: string,
    options: { hint?: string; cause?: unknown; details?: Record<string, unknown> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }

  /** Turns a refusal into an error, for callers that cannot go on. All reasons are in `details`. */
  static fromRefusals(refusals: readonly [Refusal, ...Refusal[]]): CloisterError {
    const [first] = refusals;
    return new CloisterError(first.code, first.reason, {
      ...(first.hint === undefined ? {} : { hint: first.hint }),
      details: { refusals },
    });
  }
}

/** The value of a positive verdict. @throws {CloisterError} with the first refusal's code; all are in `details`. */
export function valueOf<T>(verdict: Verdict<T>): T {
  if (verdict.ok) return verdict.value;
  throw CloisterError.fromRefusals(verdict.refusals);
}

/** The stable code of anything thrown, or `fallback` when it carries none. */
export function codeOf(thrown: unknown, fallback = "INTERNAL"): string {
  if (typeof thrown === "object" && thrown !== null && "code" in thrown && typeof thrown.code === "string") {
    return thrown.code;
  }
  return fallback;
}

/** Stops the program on a broken invariant: a bug of ours, never bad input. */
export function assertInvariant(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${what}`);
}
