/** How those who hold an authority's key together, and the CVM that brings them together, write to each other. */
import {
  decodeEndorsements,
  decodeEvidence,
  encodeEndorsements,
  encodeEvidence,
  type ChallengePart,
  type GroupIssuance,
  type SignatureShare,
} from "@cloister/certification";
import { parseAddress, sha256, encodeCanonical, type Cbor } from "@cloister/core";
import type { MessageFields } from "./message.ts";

export function partBody({ index, nonce, commitment }: ChallengePart): Readonly<Record<string, Cbor>> {
  return { index, nonce, hiding: commitment.hiding, binding: commitment.binding };
}

/** @throws {CloisterError} `REQUEST_MALFORMED` */
export function readPart(fields: MessageFields): ChallengePart {
  const index = fields.count("index");
  const commitment = { index, hiding: fields.bytes("hiding", 32), binding: fields.bytes("binding", 32) };
  return { index, nonce: fields.bytes("nonce", 32), commitment };
}

export function shareBody({ index, share }: SignatureShare): Cbor {
  return { index, share };
}

/** @throws {CloisterError} `REQUEST_MALFORMED` */
export function readShare(fields: MessageFields): SignatureShare {
  return { index: fields.count("index"), share: fields.bytes("share", 32) };
}

export function issuanceBody(issuance: GroupIssuance): Cbor {
  const { parts, request, endorsements, nowMs, lifetimeMs } = issuance;
  const { identity, settlement, wrap } = request.keys;
  return {
    ...{ nowMs, lifetimeMs, identity, settlement, wrap, challenge: request.challenge },
    parts: parts.map(partBody),
    evidence: encodeEvidence(request.evidence),
    endorsements: encodeEndorsements(endorsements),
  };
}

/** @throws {CloisterError} `REQUEST_MALFORMED`, and the codes of evidence and endorsements that cannot be read */
export function readIssuance(fields: MessageFields): GroupIssuance {
  return {
    parts: fields.list("parts").map(readPart),
    request: {
      keys: {
        identity: fields.bytes("identity", 32),
        settlement: parseAddress(fields.text("settlement")),
        wrap: fields.bytes("wrap", 32),
      },
      challenge: fields.bytes("challenge", 32),
      evidence: decodeEvidence(fields.bytes("evidence")),
    },
    endorsements: decodeEndorsements(fields.bytes("endorsements")),
    nowMs: fields.count("nowMs"),
    lifetimeMs: fields.count("lifetimeMs"),
  };
}

/** The serial number of an authority's certificate: nobody can choose one, since all nonces are in the challenge. */
export function authoritySerial(challenge: Uint8Array): Uint8Array {
  return sha256(encodeCanonical(["cloister/serial/v1", challenge])).subarray(0, 16);
}
