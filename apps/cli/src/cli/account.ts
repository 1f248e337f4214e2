import { codeOf } from "@cloister/core";
import { openAccount, type Account } from "../network/accounts.ts";
import type { Layout } from "../network/layout.ts";
import type { Context } from "./context.ts";
import { readPassphrase, type PassphraseOptions } from "./passphrase.ts";

/** Opens the account that a command acts as, asking for its passphrase when it has one. */
export async function accountFor(
  context: Context,
  layout: Layout,
  options: PassphraseOptions & { readonly as: string },
): Promise<Account> {
  try {
    return await openAccount(layout, options.as);
  } catch (error) {
    if (codeOf(error) !== "PASSPHRASE_NEEDED") throw error;
    if (options.passphraseFile === undefined && !context.interactive) throw error;
    return openAccount(
      layout,
      options.as,
      await readPassphrase(context, options, `the account "${options.as}"`),
    );
  }
}
