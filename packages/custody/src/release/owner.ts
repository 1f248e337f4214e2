/**
 * The owner stanza: what ties a sealed object to the one account whose consent opens it.
 *
 * An age stanza says neither for whom it is nor who made it. Without more, anyone could publish an offer of their
 * own over somebody else's ciphertext, with a consent that lists their own engine. So the sealer adds a stanza that
 * names the owner and proves knowledge of the ephemeral secret of the group's stanza under that name: only who
 * sealed the object can have made it, and every key-release node checks it before it computes anything.
 * Stock age skips stanzas of types it does not know. spec/sealed-objects.md §5
 */
import { CloisterError, encodeCanonical, parseAddress, type Address, type Entropy } from "@cloister/core";
import { decodeBase64, encodeBase64 } from "../sealed/base64.ts";
import type { Header, Stanza } from "../sealed/header.ts";
import { parseRecipient } from "../sealed/keys.ts";
import { wrapX25519, x25519Shares, type Recipient, type X25519Recipient } from "../sealed/recipients.ts";
import { liftMontgomery, scalarOfX25519, type Point } from "./curve.ts";
import { proveSecret, verifySecret } from "./proofs.ts";

const STANZA_TYPE = "cloister-owner";
const OWNER_DOMAIN = "cloister/owner/v1";

/** The stanza of a header that the group opens, and whose consent it takes. */
export interface OwnedStanza {
  readonly owner: Address;
  readonly stanza: Stanza;
  /** The ephemeral share, lifted to edwards25519. */
  readonly base: Point;
}

/**
 * The key-release group as a recipient, for objects of one owner: use this and not the bare `age1…`,
 * which the group refuses to open.
 * @param groupRecipient `GroupKey.recipient`
 * @throws {CloisterError} `SEALED_RECIPIENT_MALFORMED`
 */
export function groupRecipient(groupRecipient: string, owner: Address): Recipient {
  const parsed = parseRecipient(groupRecipient);
  const publicKey = (parsed as Partial<X25519Recipient>).publicKey;
  if (publicKey === undefined)
    throw new CloisterError("SEALED_RECIPIENT_MALFORMED", "The group's recipient is not an X25519 one.");
  return {
    text: parsed.text,
    wrap: (fileKey, entropy) => {
      const ephemeral = entropy(32);
      const { stanza, share } = wrapX25519(fileKey, publicKey, ephemeral);
      return [stanza, ownerStanza(owner, publicKey, ephemeral, share, entropy)];
    },
  };
}

/**
 * Finds the stanza that the group may open and checks that its sealer bound it to an owner.
 * @throws {CloisterError} `RELEASE_OWNER_NOT_BOUND`, `RELEASE_OWNER_FORGED`
 */
export function readOwned(header: Header, groupPublicKey: Uint8Array): OwnedStanza {
  const found = header.stanzas.filter((stanza) => stanza.args[0] === STANZA_TYPE);
  const [binding] = found;
  if (binding === undefined || found.length > 1) {
    throw new CloisterError(
      "RELEASE_OWNER_NOT_BOUND",
      `The object's header has ${found.length} owner stanzas; it needs one.`,
      { hint: "Seal the object again, naming its owner." },
    );
  }
  const [, ownerText = "", proofText = ""] = binding.args;
  const proof = decodeBase64(proofText);
  const matching = x25519Shares(header.stanzas).filter(({ share }) => String(share) === String(binding.body));
  const [bound] = matching;
  const base = liftMontgomery(binding.body);
  if (binding.args.length !== 3 || proof === undefined || base === undefined || bound === undefined)
    throw forged("it is malformed or names a share that the header does not have");
  if (!/^0x[0-9a-f]{40}$/.test(ownerText)) throw forged("it does not name an address");
  const owner = parseAddress(ownerText);
  if (!verifySecret(base, ownerContext(owner, groupPublicKey), proof))
    throw forged("its proof does not hold for this owner and this group");
  return { owner, stanza: bound.stanza, base };
}

function ownerStanza(
  owner: Address,
  publicKey: Uint8Array,
  ephemeral: Uint8Array,
  share: Uint8Array,
  entropy: Entropy,
): Stanza {
  const proof = proveSecret(scalarOfX25519(ephemeral), ownerContext(owner, publicKey), entropy);
  return { args: [STANZA_TYPE, owner, encodeBase64(proof)], body: share };
}

function ownerContext(owner: Address, publicKey: Uint8Array): Uint8Array {
  return encodeCanonical([OWNER_DOMAIN, owner, publicKey]);
}

function forged(why: string): CloisterError {
  return new CloisterError("RELEASE_OWNER_FORGED", `The object's owner stanza does not hold: ${why}.`);
}
