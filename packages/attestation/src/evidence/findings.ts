import {
  acceptUnless,
  assertInvariant,
  CloisterError,
  codeOf,
  type Refusal,
  type Verdict,
} from "@cloister/core";

/** Collects every failed check of one verification, so that a refusal lists them all. */
export class Findings {
  readonly refusals: Refusal[] = [];

  fail(code: string, reason: string, hint?: string): void {
    this.refusals.push(hint === undefined ? { code, reason } : { code, reason, hint });
  }

  /** Records a failed check unless it holds; tells whether it held. */
  check(holds: boolean, code: string, reason: string, hint?: string): boolean {
    if (!holds) this.fail(code, reason, hint);
    return holds;
  }

  /** Runs a parser; what it throws becomes a finding. `code` stands in where the error has only a general one. */
  attempt<T>(code: string, work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      const own = codeOf(error, code);
      this.fail(
        GENERAL_CODES.has(own) ? code : own,
        error instanceof Error ? error.message : "It cannot be read.",
        error instanceof CloisterError ? error.hint : undefined,
      );
      return undefined;
    }
  }

  /** The verdict: `value` is asked only when nothing failed. */
  verdict<T>(value: () => T): Verdict<T> {
    return acceptUnless(this.refusals, value);
  }

  /** The verdict after a failure that leaves nothing to go on with. */
  refused(): Verdict<never> {
    assertInvariant(this.refusals.length > 0, "a refusal has a reason");
    return acceptUnless(this.refusals, () => undefined as never);
  }
}

const GENERAL_CODES: ReadonlySet<string> = new Set([
  "DER_MALFORMED",
  "CERTIFICATES_MALFORMED",
  "BYTES_HEX_MALFORMED",
  "BYTES_BASE64_MALFORMED",
  "BYTES_UTF8_MALFORMED",
]);
