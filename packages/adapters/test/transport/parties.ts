/** CVMs in one process, each with a TEE, keys and a transport of its own. */
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { expect } from "vitest";
import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import {
  createSimulatedPlatform,
  simulatedTdxQuote,
  simulationEndorsements,
  simulationRoots,
} from "@cloister/attestation";
import {
  concat,
  ed25519Signer,
  type Digest,
  type Log,
  type NodeId,
  type RecordStore,
  type Tee,
} from "@cloister/core";
import {
  bootCvm,
  channelReportData,
  selfSignedCertificate,
  Verifier,
  type Admission,
  type Cvm,
  type Handler,
} from "@cloister/node";
import { simulatedMeasurement } from "../../src/tee/index.ts";
import { systemClock, systemEntropy } from "../../src/platform/index.ts";
import { encodeFrame, FrameSource } from "../../src/transport/frames.ts";
import { LIMITS_DEFAULT } from "../../src/transport/limits.ts";
import { RaTlsTransport, type Self, type TransportLimits } from "../../src/transport/index.ts";

const SILENT = { info: () => undefined, warn: () => undefined };
const open: RaTlsTransport[] = [];

/** Closes every transport that a test opened. */
export async function closeParties(): Promise<void> {
  await Promise.all(open.splice(0).map((transport) => transport.close()));
}

function memoryRecords(): RecordStore {
  const raw = new Map<string, Uint8Array>();
  return {
    read: async (name) => raw.get(name),
    write: async (name, record) => void raw.set(name, record),
    delete: async (name) => void raw.delete(name),
    list: async (prefix) => [...raw.keys()].filter((name) => name.startsWith(prefix)),
  };
}

const launchOf = (program: number) => ({
  mrTd: new Uint8Array(48).fill(program),
  rtmrs: [new Uint8Array(48), new Uint8Array(48), new Uint8Array(48), new Uint8Array(48)] as const,
});
export const APPROVED = simulatedMeasurement(launchOf(1));

function teeOf(program: number, debug = false): Tee {
  const platform = createSimulatedPlatform(systemEntropy(32));
  return {
    kind: "tdx",
    simulated: true,
    evidence: async (reportData) => simulatedTdxQuote(platform, { ...launchOf(program), reportData, debug }),
    sealingKey: async () => systemEntropy(32),
  };
}

export function verifierOf(approved: readonly Digest[]): Verifier {
  return new Verifier({
    roots: simulationRoots,
    policy: { tees: ["tdx"], tcbStatuses: ["UpToDate"], simulated: "require" },
    clock: systemClock,
    source: { endorsementsFor: async (_, nowMs) => simulationEndorsements(nowMs) },
    barred: () => [],
    approved: () => approved.map((measurement) => ({ measurement })),
  });
}

export interface Party {
  readonly cvm: Cvm;
  readonly transport: RaTlsTransport;
  readonly endpoint: string;
}

export interface PartyOptions {
  readonly program?: number;
  readonly debug?: boolean;
  readonly handler?: Handler;
  readonly change?: (self: Self) => Self;
  readonly limits?: Partial<TransportLimits>;
  /** Whom it lets in; by default the approved program. */
  readonly admission?: Admission;
  readonly log?: Log;
}

const MACHINE = { cpus: 2, memoryBytes: 1 << 30, gpus: 0 };

/** A CVM with a simulated TEE that listens on a port of its own. */
export async function party(options: PartyOptions = {}): Promise<Party> {
  const cvm = await bootCvm(teeOf(options.program ?? 1, options.debug), memoryRecords(), systemEntropy);
  const { keys, tee } = cvm;
  const self: Self = {
    identitySeed: keys.identitySeed,
    identity: keys.identity,
    settlement: keys.settlement,
    wrap: keys.wrap,
    machine: MACHINE,
    certificate: selfSignedCertificate(cvm, systemClock, systemEntropy),
    tee: "tdx",
    evidence: (reportData) => tee.evidence(reportData),
  };
  const transport = new RaTlsTransport({
    self: options.change?.(self) ?? self,
    bind: channelReportData,
    admission: options.admission ?? verifierOf([APPROVED]).admission(),
    handler: options.handler ?? (async (_, method, body) => ({ method, body })),
    entropy: systemEntropy,
    log: options.log ?? SILENT,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  open.push(transport);
  return { cvm, transport, endpoint: `127.0.0.1:${await transport.listen(0)}` };
}

/** A CVM that proves itself to a party as anybody does, and whose socket then is the test's to write on. */
export async function rawMember(
  endpoint: string,
): Promise<{ readonly socket: TLSSocket; readonly id: NodeId }> {
  const { keys, tee } = await bootCvm(teeOf(1), memoryRecords(), systemEntropy);
  const { identity, settlement, wrap } = keys;
  const port = Number(endpoint.split(":")[1]);
  const socket = tlsConnect({ ...tlsOf(keys.identitySeed), port, host: "127.0.0.1" });
  socket.on("error", () => undefined);
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  const frames = new FrameSource(socket, LIMITS_DEFAULT);
  const introduced = { identity, settlement, wrap, machine: MACHINE };
  const challenge = systemEntropy(32);
  socket.write(encodeFrame({ kind: "hello", version: 1, challenge, tee: "tdx", ...introduced }));
  const hello = (await frames.next()) as { readonly challenge: Uint8Array };
  const exported = socket.exportKeyingMaterial(32, "EXPORTER-cloister-channel-v1", Buffer.from("cloister/1"));
  const asClient = concat(exported, Uint8Array.of(0));
  const evidence = await tee.evidence(channelReportData(hello.challenge, asClient, introduced));
  socket.write(encodeFrame({ kind: "evidence", evidence }));
  await frames.next();
  socket.write(encodeFrame({ kind: "verdict", refusals: [] }));
  expect(await frames.next()).toEqual({ kind: "verdict", refusals: [] });
  frames.pushTo(() => undefined);
  return { socket, id: settlement };
}

/** What a TLS end needs to show the Ed25519 key of a seed. */
export function tlsOf(seed: Uint8Array) {
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const key = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  const jwk = createPublicKey(key).export({ format: "jwk" });
  const identity = new Uint8Array(Buffer.from(jwk.x as string, "base64url"));
  const keys = { identity, settlement: `0x${"00".repeat(20)}` } as Cvm["keys"];
  const certificate = selfSignedCertificate(
    { keys, sign: ed25519Signer(seed) } as Cvm,
    systemClock,
    systemEntropy,
  );
  return {
    key: key.export({ format: "pem", type: "pkcs8" }),
    cert: new X509Certificate(certificate).toString(),
    minVersion: "TLSv1.3" as const,
    ALPNProtocols: ["cloister/1"],
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  };
}
