import {
  nodeKeysDigest,
  verifyAuthorityCertificate,
  type NodeKeys,
  type Realm,
} from "@cloister/certification";
import {
  decodeCanonical,
  ed25519Verify,
  encodeCanonical,
  digestOf,
  type Address,
  type Clock,
  type Digest,
  type RecordStore,
} from "@cloister/core";
import { NODE_ROLES, type NodeCertificate } from "@cloister/market";

const DAY_MS = 86_400_000;
/** The authority's own certificate is renewed on fresh evidence of its members when half of this is over. */
export const AUTHORITY_LIFETIME_MS = 7 * DAY_MS;
export const NODE_LIFETIME_MS = DAY_MS;
const RECORD = "authority";

/** The authority's own certificate, and the endorsements that its evidence was judged by. */
export interface AuthorityPapers {
  readonly certificate: Uint8Array;
  readonly endorsements: Uint8Array;
}

/** What a certified node gets besides the authority's papers. */
export interface Issued {
  readonly certificate: Uint8Array;
  readonly endorsements: Uint8Array;
  readonly registration: NodeCertificate;
  /** Over the registration, by a member of the authority that the chain approves. */
  readonly signature: Uint8Array;
}

/** Who operates a node is the node's own word, given together with the challenge that it answers. */
export interface OperatorWord {
  readonly operator: Address;
  /** Ed25519, by the node's identity key. */
  readonly signature: Uint8Array;
}

/** What a node signs to name its operator. spec/certificates.md §7 */
export function operatorMessage(challenge: Uint8Array, operator: Address): Uint8Array {
  return encodeCanonical(["cloister/operator/v1", challenge, operator]);
}

export function isOperatorsNode(
  { operator, signature }: OperatorWord,
  challenge: Uint8Array,
  identity: Uint8Array,
): boolean {
  return ed25519Verify(identity, operatorMessage(challenge, operator), signature);
}

/** What the chain is told of a node that was certified at `nowMs`. */
export function registrationOf(
  keys: NodeKeys,
  operator: Address,
  certificate: Uint8Array,
  measurement: Digest,
  nowMs: number,
): NodeCertificate {
  return {
    node: keys.settlement,
    operator,
    keysDigest: nodeKeysDigest(keys),
    certificateDigest: digestOf(certificate),
    measurement,
    roles: NODE_ROLES.voter | NODE_ROLES.runner | NODE_ROLES.keyRelease,
    issuedAtSeconds: Math.floor(nowMs / 1000),
    notAfterSeconds: Math.floor((nowMs + NODE_LIFETIME_MS) / 1000),
  };
}

/** The papers that were issued before, while they are good. */
export async function loadPapers(
  records: RecordStore,
  clock: Clock,
  realm: Realm,
): Promise<AuthorityPapers | undefined> {
  const record = await records.read(RECORD);
  if (record === undefined) return undefined;
  const papers = decodeCanonical(record) as unknown as AuthorityPapers;
  const verdict = verifyAuthorityCertificate(papers.certificate, { nowMs: clock.nowMs(), realm });
  return verdict.ok ? papers : undefined;
}

export function keepPapers(records: RecordStore, papers: AuthorityPapers): Promise<void> {
  return records.write(RECORD, encodeCanonical({ ...papers }));
}
