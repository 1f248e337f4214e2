/** How commands reach a transparency log: its server, its key, and what the chain holds of it. */
import {
  appraise,
  simulationEndorsements,
  simulationRoots,
  verify,
  type AppraisalPolicy,
} from "@cloister/attestation";
import {
  cosignaturesOf,
  judgeWitnessed,
  parseCheckpoint,
  parseNoteKey,
  TileReader,
  verifyAuthorityCertificate,
  verifyConsistency,
  verifyCheckpoint,
  type AuthorityCertificate,
  type Checkpoint,
  type Cosignature,
  type FetchResource,
  type NoteKey,
} from "@cloister/certification";
import {
  CloisterError,
  codeOf,
  digestBytes,
  equalBytes,
  valueOf,
  type Digest,
  type Refusal,
} from "@cloister/core";
import { isMeasurementApproved, type MarketState } from "@cloister/market";
import { Client } from "./client.ts";

const ASK_MS = 10_000;
/** A bundle of 256 entries of the largest size. */
const RESOURCE_BYTES_MAX = 256 * 65_537;
const SIMULATED: AppraisalPolicy = { tees: ["tdx"], tcbStatuses: ["UpToDate"], simulated: "require" };

/** What a person names: nothing, for the log of the network in --home. */
export interface LogOptions {
  readonly url?: string;
  readonly key?: string;
}

/** A signed state of a log, and a reader of the tree it speaks of. */
export interface LogHead {
  readonly note: Uint8Array;
  readonly checkpoint: Checkpoint;
  /** Which of the log's witnesses co-signed it, and how many must. */
  readonly witnessed: { readonly by: readonly Cosignature[]; readonly countMin: number };
  readonly reader: TileReader;
}

/** A log that can be asked; nothing that its server says is believed without the key. */
export interface LogAccess {
  readonly url: string;
  readonly key: NoteKey;
  readonly fetch: FetchResource;
  /** Whose signatures on certificates count, where that is known. */
  readonly authority: AuthorityCertificate | undefined;
  /** The network of --home; undefined for a log that is named by its address and key alone. */
  readonly client: Client | undefined;
}

/**
 * Opens a log by its address and key, or that of the network in `home`: then its key is the one that the
 * certification authority's certificate names, whose members the chain approves.
 * @throws {CloisterError} `LOG_UNREACHABLE`, `LOG_KEY_MALFORMED`, `NETWORK_MISSING`, `AUTHORITY_NOT_APPROVED`
 */
export async function openLog(home: string, options: LogOptions, nowMs: number): Promise<LogAccess> {
  const alone = options.url !== undefined && options.key !== undefined;
  const client = alone ? undefined : await Client.open(home);
  const url = (options.url ?? client?.network.authority.statusUrl ?? "").replace(/\/+$/, "");
  const fetch = fetchFrom(url);
  const authority = await authorityOf(fetch, client, nowMs);
  const named = options.key === undefined ? undefined : parseNoteKey(options.key);
  if (named === undefined && authority === undefined) throw unreachable(url, "it names no authority");
  const { origin, key } = authority?.statement.log ?? { origin: "", key: new Uint8Array(0) };
  const same = named === undefined || (named.name === origin && equalBytes(named.key, key));
  return {
    ...{ url, fetch, client },
    key: named ?? { name: origin, key },
    authority: same ? authority : undefined,
  };
}

/**
 * The log's newest signed state, co-signed by as many witnesses as its authority asks for.
 * @throws {CloisterError} `LOG_UNREACHABLE`, `LOG_CHECKPOINT_UNSIGNED`, `LOG_WITNESSES_MISSING`, `CHECKPOINT_MALFORMED`
 */
export async function readHead(access: LogAccess): Promise<LogHead> {
  const note = await access.fetch("checkpoint");
  if (note === undefined) throw unreachable(access.url, "it has published no checkpoint yet");
  const signed = parseCheckpoint(note);
  if (!verifyCheckpoint(signed, access.key)) {
    throw new CloisterError(
      "LOG_CHECKPOINT_UNSIGNED",
      `The checkpoint at ${access.url} is not signed by the log ${access.key.name}.`,
      { hint: "Check the address and the key; a checkpoint that its log did not sign says nothing." },
    );
  }
  const { checkpoint } = signed;
  const { countMin = 0, members = [] } = access.authority?.statement.log.witnesses ?? {};
  const by = cosignaturesOf(signed, members);
  const missing = judgeWitnessed(by, countMin, access.key.name);
  if (missing !== undefined) throw CloisterError.fromRefusals([missing]);
  const reader = new TileReader(access.fetch, checkpoint.size);
  return { note, checkpoint, witnessed: { by, countMin }, reader };
}

/** What the chain holds of the log: a root that its authority signed for. */
export interface Anchor {
  readonly size: number;
  readonly root: Digest;
}

/**
 * Holds a head against the root on the chain, which was read before the head was.
 * Codes: `LOG_ROLLED_BACK`, `LOG_FORKED`.
 */
export async function judgeAnchor(head: LogHead, anchor: Anchor | undefined): Promise<Refusal | undefined> {
  if (anchor === undefined) return undefined;
  const { size, root } = head.checkpoint;
  if (size < anchor.size) return rolledBack(size, anchor.size, "the chain holds the root of");
  const oldRoot = digestBytes(anchor.root);
  const path = await head.reader.consistency(anchor.size);
  if (verifyConsistency({ oldSize: anchor.size, oldRoot, size, root, path })) return undefined;
  return {
    code: "LOG_FORKED",
    reason: `The log's tree of ${size} entries does not continue the tree of ${anchor.size} whose root the chain holds.`,
    hint: "Keep the checkpoint: with the chain's root it proves the fork. Trust nothing that only this log vouches for.",
  };
}

/**
 * Holds a head against another checkpoint of the same log, older or newer, that somebody kept. A newer one that the
 * server cannot prove its head to be part of means that it went back.
 * Codes: `LOG_CHECKPOINT_UNSIGNED`, `LOG_ROLLED_BACK`, `LOG_FORKED`.
 */
export async function judgeContinuation(
  access: LogAccess,
  head: LogHead,
  kept: Uint8Array,
): Promise<{ readonly oldSize: number; readonly refusal?: Refusal }> {
  const signed = parseCheckpoint(kept);
  const { size: oldSize, root: oldRoot } = signed.checkpoint;
  if (!verifyCheckpoint(signed, access.key)) {
    const reason = `The checkpoint is not signed by the log ${access.key.name}.`;
    return { oldSize, refusal: { code: "LOG_CHECKPOINT_UNSIGNED", reason } };
  }
  const { size, root } = head.checkpoint;
  const grown = oldSize <= size;
  try {
    const reader = grown ? head.reader : new TileReader(access.fetch, oldSize);
    const path = await reader.consistency(Math.min(oldSize, size));
    const holds = grown
      ? verifyConsistency({ oldSize, oldRoot, size, root, path })
      : verifyConsistency({ oldSize: size, oldRoot: root, size: oldSize, root: oldRoot, path });
    if (holds) return { oldSize };
  } catch (error) {
    if (grown || codeOf(error) !== "LOG_TILE_MISSING") throw error;
    return { oldSize, refusal: rolledBack(size, oldSize, "signed earlier that it has") };
  }
  return {
    oldSize,
    refusal: {
      code: "LOG_FORKED",
      reason: `The log's tree of ${size} entries and its tree of ${oldSize} are not of one history.`,
      hint: "Keep both checkpoints: the log signed both. Trust nothing that only this log vouches for.",
    },
  };
}

function rolledBack(size: number, knownSize: number, who: string): Refusal {
  return {
    code: "LOG_ROLLED_BACK",
    reason: `The log shows ${size} entries, and ${who} ${knownSize}.`,
    hint: "A log only grows. Keep both checkpoints, and ask another server of this log.",
  };
}

/** The certificate that the log's server shows, once it holds; checked against the chain where there is one. */
async function authorityOf(
  fetch: FetchResource,
  client: Client | undefined,
  nowMs: number,
): Promise<AuthorityCertificate | undefined> {
  const der = await fetch("authority");
  if (der === undefined) return undefined;
  if (client === undefined) {
    const verdict = verifyAuthorityCertificate(der, { nowMs });
    return verdict.ok ? verdict.value : undefined;
  }
  const { chainId, market, registry, simulated } = client.network;
  const realm = { chainId, contract: market, registry };
  const certificate = valueOf(verifyAuthorityCertificate(der, { nowMs, realm }));
  const { state } = await client.chain.refresh();
  requireApproved(certificate, state, nowMs);
  if (simulated) requireEvidence(certificate, nowMs);
  return certificate;
}

function requireApproved({ statement }: AuthorityCertificate, state: MarketState, nowMs: number): void {
  for (const { signer } of statement.members) {
    const approval = state.authorities.get(signer);
    const inForce =
      approval !== undefined && !approval.revoked && approval.effectiveAtSeconds * 1000 <= nowMs;
    if (inForce) continue;
    throw new CloisterError("AUTHORITY_NOT_APPROVED", `The chain does not approve the authority ${signer}.`, {
      hint: "Somebody else answers at the log's address. Check it, or name the log with --url and --key.",
    });
  }
  if (!isMeasurementApproved(state, statement.measurement, nowMs)) {
    throw new CloisterError(
      "MEASUREMENT_NOT_APPROVED",
      `The chain does not approve the authority's software ${statement.measurement}.`,
    );
  }
}

/** That the log's key was made in the measured machine: its evidence binds it. Simulated machines alone are judged here. */
function requireEvidence({ statement, evidence }: AuthorityCertificate, nowMs: number): void {
  const endorsements = simulationEndorsements(nowMs);
  for (const { evidence: one, reportData } of evidence) {
    const claims = valueOf(
      verify(one, endorsements, { challenge: reportData, nowMs, roots: simulationRoots }),
    );
    const { refusals } = appraise(claims, [{ measurement: statement.measurement }], SIMULATED);
    const [first, ...rest] = refusals;
    if (first !== undefined) throw CloisterError.fromRefusals([first, ...rest]);
  }
}

/** Asks one server, within bounds of time and size. */
function fetchFrom(url: string): FetchResource {
  return async (path) => {
    let response: Response;
    try {
      response = await fetch(`${url}/${path}`, { signal: AbortSignal.timeout(ASK_MS) });
      if (response.status === 404) return undefined;
      if (!response.ok) throw new Error(`it answers ${response.status}`);
      return await readWithin(response);
    } catch (cause) {
      throw unreachable(url, cause instanceof Error ? cause.message : String(cause), cause);
    }
  };
}

async function readWithin(response: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of response.body ?? []) {
    sizeBytes += part.length;
    if (sizeBytes > RESOURCE_BYTES_MAX) throw new Error("it answers without end");
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}

function unreachable(url: string, why: string, cause?: unknown): CloisterError {
  return new CloisterError(
    "LOG_UNREACHABLE",
    `There is no transparency log at ${url || "no address"}: ${why}.`,
    {
      hint: "Check that the network is up with `cloister status`, or name the log with --url and --key.",
      cause,
    },
  );
}
