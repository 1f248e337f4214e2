import type { Evidence } from "@cloister/attestation";
import {
  digestOf,
  ed25519PublicKey,
  ed25519Signer,
  parseAddress,
  sha256,
  utf8,
  type NodeId,
} from "@cloister/core";
import {
  issueCaCertificate,
  issueNodeCertificate,
  type AuthorityStatement,
  type NodeStatement,
  type Realm,
} from "../src/index.ts";

/** Keys, realm and statements for tests that do not look into the evidence. */

export const NOW_MS = Date.UTC(2026, 10, 21, 12);
export const HOUR_MS = 3_600_000;
export const key = (name: string): Uint8Array => ed25519PublicKey(sha256(utf8(name)));
export const signer = (name: string): ((message: Uint8Array) => Uint8Array) =>
  ed25519Signer(sha256(utf8(name)));
export const serial = (name: string): Uint8Array => sha256(utf8(name)).subarray(0, 16);

export const realm: Realm = {
  chainId: 31_337,
  contract: parseAddress(`0x${"c0".repeat(20)}`),
  registry: parseAddress(`0x${"c1".repeat(20)}`),
};
export const node = parseAddress(`0x${"de".repeat(20)}`) as NodeId;
export const evidence: Evidence = { tee: "tdx", bytes: utf8("evidence"), parts: { extra: utf8("part") } };

export const nodeStatement: NodeStatement = {
  version: 1,
  ...realm,
  settlement: node,
  wrap: key("wrap"),
  challenge: sha256(utf8("challenge")),
  endorsements: digestOf(utf8("endorsements")),
  measurement: digestOf(utf8("measurement")),
  tcbStatus: "UpToDate",
  simulated: true,
};

export const authorityStatement: AuthorityStatement = {
  version: 1,
  ...realm,
  challenge: sha256(utf8("authority challenge")),
  measurement: digestOf(utf8("measurement")),
  simulated: true,
  threshold: 1,
  members: [
    { index: 1, signer: parseAddress(`0x${"a1".repeat(20)}`), endorsements: digestOf(utf8("endorsements")) },
  ],
  log: { origin: "log.example/31337", key: key("log") },
};

export function issueAuthority(changes: Partial<Parameters<typeof issueCaCertificate>[0]> = {}): Uint8Array {
  return issueCaCertificate(
    {
      nowMs: NOW_MS,
      lifetimeMs: 24 * HOUR_MS,
      serial: serial("authority"),
      key: key("authority"),
      statement: authorityStatement,
      evidence: { 1: evidence },
      ...changes,
    },
    signer("authority"),
  );
}

export function issueNode(
  changes: Partial<Parameters<typeof issueNodeCertificate>[0]> = {},
  sign = signer("authority"),
): Uint8Array {
  return issueNodeCertificate(
    {
      nowMs: NOW_MS,
      lifetimeMs: HOUR_MS,
      serial: serial("node"),
      authorityKey: key("authority"),
      identity: key("identity"),
      statement: nodeStatement,
      evidence,
      ...changes,
    },
    sign,
  );
}
