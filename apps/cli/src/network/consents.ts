/** Consents as files, and signatures of wallets that only a chain can check. */
import { CloisterError, fromHex, toHex, type Address, type Refusal } from "@cloister/core";
import {
  consentSigningDigest,
  decodeConsent,
  isSignedConsent,
  judgeSignedConsent,
  parseConsent,
  parseSignedConsent,
  type ConsentPolicy,
  type ConsentStatement,
  type SignedConsent,
} from "@cloister/custody";
import { readDocument, textOf } from "../cli/files.ts";

const CONSENT_BYTES_MAX = 192 * 1024;
/** `isValidSignature(bytes32,bytes)` and the answer that means yes. EIP-1271 */
const IS_VALID_SIGNATURE = "1626ba7e";

/** A policy, and the signature over it where the file carries one. Nothing is judged yet. */
export interface ConsentFile {
  readonly policy: ConsentPolicy;
  readonly signed?: SignedConsent;
}

/** Reads a policy (JSON or canonical CBOR) or a signed consent. @throws {CloisterError} `CONSENT_MALFORMED`, `FILE_NOT_TEXT` */
export async function readConsent(file: string): Promise<ConsentFile> {
  const bytes = await readDocument(file, CONSENT_BYTES_MAX);
  // JSON begins with a brace or space, canonical CBOR never does.
  if (!/^[\s{]/.test(String.fromCharCode(bytes[0] ?? 0))) return { policy: decodeConsent(bytes) };
  const text = textOf(bytes, file);
  if (!isSignedConsent(text)) return { policy: parseConsent(text) };
  const signed = parseSignedConsent(text);
  return { policy: signed.policy, signed };
}

/**
 * Refuses a signed consent that its owner did not sign. An owner that is a contract is asked on the chain (EIP-1271);
 * without a chain, only an ordinary account's signature can be told.
 * @throws {CloisterError} with every refusal
 */
export async function requireSigned(signed: SignedConsent, rpcUrl: string | undefined): Promise<void> {
  const refused = await judgeWallet(signed.grant, signed.owner, signed.signature, rpcUrl);
  const verdict = judgeSignedConsent(signed, refused === undefined);
  const refusals = [...(refused ?? []), ...(verdict.ok ? [] : verdict.refusals)];
  const [first] = refusals;
  if (first === undefined) return;
  const distinct = refusals.filter(({ code }, i) => refusals.findIndex((one) => one.code === code) === i);
  throw CloisterError.fromRefusals([first, ...distinct.slice(1)]);
}

/**
 * Asks a contract wallet whether a signature is its own. An empty list means that it is not a contract, or that there
 * is no chain to ask: then it is for `verifyConsentSignature` to say. Undefined means that it said yes.
 * Codes: `CONSENT_SIGNATURE_INVALID`.
 */
async function judgeWallet(
  statement: ConsentStatement,
  wallet: Address,
  signature: Uint8Array,
  rpcUrl: string | undefined,
): Promise<readonly Refusal[] | undefined> {
  if (rpcUrl === undefined) return [];
  const { connectJsonRpc } = await import("@cloister/adapters/chain");
  const rpc = connectJsonRpc(rpcUrl);
  const code = await rpc.request<string>("eth_getCode", [wallet, "latest"]);
  if (code === "0x") return [];
  const data = callData(consentSigningDigest(statement), signature);
  const answer = await rpc
    .request<string>("eth_call", [{ to: wallet, data }, "latest"])
    .catch((error: unknown) => {
      if ((error as { code?: unknown }).code === "CHAIN_RPC_ERROR") return "0x";
      throw error;
    });
  if (answer.length === 66 && answer.startsWith(`0x${IS_VALID_SIGNATURE}`)) return undefined;
  const reason = `The contract ${wallet} does not accept the signature as its own (EIP-1271).`;
  return [{ code: "CONSENT_SIGNATURE_INVALID", reason }];
}

/** Solidity's encoding of a word and a byte string after the selector. */
function callData(digest: Uint8Array, signature: Uint8Array): string {
  const word = (value: number): string => value.toString(16).padStart(64, "0");
  const padded = toHex(signature).padEnd(64 * Math.ceil(signature.length / 32), "0");
  return `0x${IS_VALID_SIGNATURE}${toHex(digest)}${word(64)}${word(signature.length)}${padded}`;
}

/** A signature as wallets print it. @throws {CloisterError} `USAGE_SIGNATURE_MALFORMED` */
export function parseSignature(text: string): Uint8Array {
  if (/^0x([0-9a-f]{2}){1,8192}$/i.test(text)) return fromHex(text);
  throw new CloisterError("USAGE_SIGNATURE_MALFORMED", "The signature is not 0x and hex digits.", {
    hint: "Give it as the wallet printed it.",
  });
}
