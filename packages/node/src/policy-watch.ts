import type { Transport } from "./ports.ts";
import type { Verifier } from "./verifier.ts";

/** Has every peer prove itself anew when what this CVM accepts has changed. */
export class PolicyWatch {
  readonly #verifier: Verifier;
  #policy: string | undefined;

  constructor(verifier: Verifier) {
    this.#verifier = verifier;
  }

  /** Call it again and again. */
  look(transport: Transport | undefined): void {
    const policy = this.#verifier.policyNow();
    const changed = this.#policy !== undefined && this.#policy !== policy;
    this.#policy = policy;
    if (changed) void transport?.reattest("policy");
  }
}
