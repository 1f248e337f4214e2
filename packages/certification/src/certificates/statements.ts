import {
  digestBytes,
  digestOfDocument,
  encodeCanonical,
  fromHex,
  toHex,
  type Address,
  type Digest,
} from "@cloister/core";
import { Shape } from "../shape.ts";
import type {
  AuthorityMember,
  AuthorityStatement,
  LogStatement,
  LogWitness,
  LogWitnesses,
  NodeKeys,
  NodeStatement,
} from "./types.ts";

/** Media types of what an authority states of a node, and of itself. spec/certificates.md §3 */
export const NODE_STATEMENT_TYPE = "application/vnd.cloister.node-statement+cbor";
export const AUTHORITY_STATEMENT_TYPE = "application/vnd.cloister.authority-statement+cbor";

const STATEMENT_BYTES_MAX = 8192;
const MEMBERS_MAX = 31;
/** A note holds at most 16 signatures, and one of them is the log's own. */
const WITNESSES_DUE_MAX = 15;
const COMMON = ["version", "chainId", "contract", "registry", "challenge", "measurement", "simulated"];
const CODE = /^[A-Za-z][A-Za-z0-9_-]*$/;
const shape = new Shape("CERTIFICATE_STATEMENT_MALFORMED", "certificate's statement");

/** The digest that evidence binds a node's keys by. */
export function nodeKeysDigest(keys: NodeKeys): Digest {
  return digestOfDocument({ identity: keys.identity, settlement: keys.settlement, wrap: keys.wrap });
}

/** The digest that the evidence of an authority's members binds its keys and its realm by. */
export function authorityKeysDigest(key: Uint8Array, statement: AuthorityStatement): Digest {
  const { chainId, contract, registry, threshold, members, log } = statement;
  const signers = members.map((member) => member.signer);
  return digestOfDocument({ key, chainId, contract, registry, threshold, signers, log: logDocument(log) });
}

/** Encodes a node's statement canonically. */
export function encodeNodeStatement(statement: NodeStatement): Uint8Array {
  return encodeCanonical({
    ...statement,
    contract: fromHex(statement.contract),
    registry: fromHex(statement.registry),
    settlement: fromHex(statement.settlement),
    endorsements: digestBytes(statement.endorsements),
    measurement: digestBytes(statement.measurement),
  });
}

/** Decodes a node's statement. @throws {CloisterError} `CERTIFICATE_STATEMENT_MALFORMED` */
export function decodeNodeStatement(bytes: Uint8Array): NodeStatement {
  const names = [...COMMON, "settlement", "wrap", "endorsements", "tcbStatus"];
  const document = shape.record(shape.decode(bytes, STATEMENT_BYTES_MAX), "", names);
  return {
    ...readCommon(document),
    settlement: shape.address(document.settlement, "settlement"),
    wrap: shape.fixed(document.wrap, "wrap", 32),
    endorsements: shape.digest(document.endorsements, "endorsements"),
    tcbStatus: shape.text(document.tcbStatus, "tcbStatus", 80, CODE),
  };
}

/** Encodes an authority's statement canonically. */
export function encodeAuthorityStatement(statement: AuthorityStatement): Uint8Array {
  const members = statement.members.map(({ index, signer, endorsements }) => ({
    index,
    signer: fromHex(signer),
    endorsements: endorsements === undefined ? undefined : digestBytes(endorsements),
  }));
  return encodeCanonical({
    ...statement,
    contract: fromHex(statement.contract),
    registry: fromHex(statement.registry),
    measurement: digestBytes(statement.measurement),
    members,
    log: logDocument(statement.log),
  });
}

function logDocument({ origin, key, witnesses }: LogStatement) {
  if (witnesses === undefined) return { origin, key };
  const { countMin } = witnesses;
  const members = witnesses.members.map(({ node, key: own }) => ({ node: fromHex(node), key: own }));
  return { origin, key, witnesses: { countMin, members } };
}

/** Decodes an authority's statement. @throws {CloisterError} `CERTIFICATE_STATEMENT_MALFORMED` */
export function decodeAuthorityStatement(bytes: Uint8Array): AuthorityStatement {
  const names = [...COMMON, "threshold", "members", "log"];
  const document = shape.record(shape.decode(bytes, STATEMENT_BYTES_MAX), "", names);
  const [first, ...more] = shape.list(document.members, "members", MEMBERS_MAX, readMember);
  if (first === undefined) throw shape.wrong("members", "an authority has at least one");
  const members = [first, ...more] as const;
  const threshold = shape.count(document.threshold, "threshold", members.length);
  const proven = members.filter((member) => member.endorsements !== undefined).length;
  shape.check(threshold >= 1, "threshold", "it is zero");
  shape.check(
    members.every(({ index }, i) => index > (members[i - 1]?.index ?? 0)),
    "members",
    "their numbers do not ascend from 1 on",
  );
  shape.check(
    members.length - proven < threshold,
    "members",
    "so many have no evidence that they could sign",
  );
  return {
    ...readCommon(document),
    threshold,
    members,
    log: readLog(document.log),
  };
}

function readLog(value: unknown): LogStatement {
  const { origin, key, witnesses } = shape.record(value, "log", ["origin", "key"], ["witnesses"]);
  const log = { origin: shape.text(origin, "log.origin", 120), key: shape.fixed(key, "log.key", 32) };
  return witnesses === undefined ? log : { ...log, witnesses: readWitnesses(witnesses) };
}

function readWitnesses(value: unknown): LogWitnesses {
  const path = "log.witnesses";
  const document = shape.record(value, path, ["countMin", "members"]);
  const members = shape.list(document.members, `${path}.members`, MEMBERS_MAX, readWitness);
  const dueMax = Math.min(members.length, WITNESSES_DUE_MAX);
  const countMin = shape.count(document.countMin, `${path}.countMin`, dueMax);
  shape.check(countMin >= 1, `${path}.countMin`, "it is zero");
  shape.check(
    members.every(({ node }, i) => i === 0 || (members[i - 1] as LogWitness).node < node),
    `${path}.members`,
    "they do not ascend, or one is there twice",
  );
  shape.check(
    new Set(members.map(({ key }) => toHex(key))).size === members.length,
    `${path}.members`,
    "two of them have one key",
  );
  return { countMin, members };
}

function readWitness(value: unknown, path: string): LogWitness {
  const { node, key } = shape.record(value, path, ["node", "key"]);
  return { node: shape.address<Address>(node, `${path}.node`), key: shape.fixed(key, `${path}.key`, 32) };
}

function readMember(value: unknown, path: string): AuthorityMember {
  const item = shape.record(value, path, ["index", "signer"], ["endorsements"]);
  const { endorsements } = item;
  return {
    index: shape.count(item.index, `${path}.index`, MEMBERS_MAX),
    signer: shape.address<Address>(item.signer, `${path}.signer`),
    ...(endorsements === undefined
      ? {}
      : { endorsements: shape.digest(endorsements, `${path}.endorsements`) }),
  };
}

function readCommon(document: Record<string, unknown>) {
  return {
    version: shape.exactly(document.version, "version", 1),
    chainId: shape.count(document.chainId, "chainId"),
    contract: shape.address<Address>(document.contract, "contract"),
    registry: shape.address<Address>(document.registry, "registry"),
    challenge: shape.fixed(document.challenge, "challenge", 32),
    measurement: shape.digest(document.measurement, "measurement"),
    simulated: shape.flag(document.simulated, "simulated"),
  };
}
