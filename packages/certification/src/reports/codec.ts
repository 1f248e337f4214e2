import {
  digestBytes,
  digestOf,
  encodeCanonical,
  equalBytes,
  fromHex,
  openSign1,
  sha256,
  signSign1,
  verifySign1,
  type Digest,
} from "@cloister/core";
import { Shape } from "../shape.ts";
import type {
  IntegrityReport,
  OrderReport,
  ReportEvidence,
  ReportInput,
  ReportOutput,
  SignedOrderReport,
} from "./types.ts";

/** Domain of the signature: nothing else that a CVM signs has this content type. */
export const ORDER_REPORT_TYPE = "application/vnd.cloister.order-report+cbor";

const REPORT_BYTES_MAX = 32_768;
const INPUTS_MAX = 32;
const OUTPUTS_MAX = 32;
const EVIDENCE_MAX = 9;
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;
const CODE = /^[A-Za-z][A-Za-z0-9_-]*$/;
const RECIPIENT = /^age1[a-z0-9]+$/;
const EGRESS = /^(none|[a-z0-9.-]+(:[0-9]+)?)$/;

const integrityShape = new Shape("INTEGRITY_REPORT_MALFORMED", "integrity report");
const shape = new Shape("ORDER_REPORT_MALFORMED", "order report");

/** Encodes an integrity report canonically. @throws {CloisterError} `INTEGRITY_REPORT_MALFORMED` */
export function encodeIntegrityReport(report: IntegrityReport): Uint8Array {
  const bytes = encodeCanonical(integrityDocument(report));
  decodeIntegrityReport(bytes);
  return bytes;
}

/** The digest that evidence binds and that every later statement of the order refers to. */
export function integrityDigest(report: IntegrityReport): Digest {
  return digestOf(encodeIntegrityReport(report));
}

/** Decodes an integrity report. @throws {CloisterError} `INTEGRITY_REPORT_MALFORMED` */
export function decodeIntegrityReport(bytes: Uint8Array): IntegrityReport {
  return readIntegrity(integrityShape.decode(bytes, REPORT_BYTES_MAX), "", integrityShape);
}

/** Encodes an order report canonically. @throws {CloisterError} `ORDER_REPORT_MALFORMED` */
export function encodeOrderReport(report: OrderReport): Uint8Array {
  const bytes = encodeCanonical({
    version: report.version,
    integrity: integrityDocument(report.integrity),
    evidence: report.evidence.map((part) => ({
      ...part,
      evidence: digestBytes(part.evidence),
      endorsements: digestBytes(part.endorsements),
      measurement: digestBytes(part.measurement),
    })),
    outputs: report.outputs.map((output) => ({
      ...output,
      content: digestBytes(output.content),
      sealed: digestBytes(output.sealed),
    })),
    exit: report.exit,
    startedAtMs: report.startedAtMs,
    endedAtMs: report.endedAtMs,
    wipe: report.wipe,
  });
  decodeOrderReport(bytes);
  return bytes;
}

/** Decodes an order report. @throws {CloisterError} `ORDER_REPORT_MALFORMED` */
export function decodeOrderReport(bytes: Uint8Array): OrderReport {
  const names = ["version", "integrity", "evidence", "outputs", "exit", "startedAtMs", "endedAtMs", "wipe"];
  const document = shape.record(shape.decode(bytes, REPORT_BYTES_MAX), "", names);
  const exit = shape.record(document.exit, "exit", ["code", "reason"]);
  const wipe = shape.record(document.wipe, "wipe", ["wiped", "wipedAtMs"]);
  const [first, ...more] = shape.list(document.evidence, "evidence", EVIDENCE_MAX, readEvidence);
  if (first === undefined) throw shape.wrong("evidence", "a report rests on at least one piece of evidence");
  const report: OrderReport = {
    version: shape.exactly(document.version, "version", 1),
    integrity: readIntegrity(document.integrity, "integrity", shape),
    evidence: [first, ...more],
    outputs: shape.list(document.outputs, "outputs", OUTPUTS_MAX, readOutput),
    exit: {
      code: shape.count(exit.code, "exit.code", 255),
      reason: shape.text(exit.reason, "exit.reason", 80, CODE),
    },
    startedAtMs: shape.count(document.startedAtMs, "startedAtMs"),
    endedAtMs: shape.count(document.endedAtMs, "endedAtMs"),
    wipe: {
      wiped: shape.list(wipe.wiped, "wipe.wiped", 16, (item, path) => shape.text(item, path, 40, NAME)),
      wipedAtMs: shape.count(wipe.wipedAtMs, "wipe.wipedAtMs"),
    },
  };
  checkReport(report);
  return report;
}

/** Signs an order report as the CVM that made it. `kid` becomes the SHA-256 of `identity`. */
export function signOrderReport(
  report: OrderReport,
  signer: { identity: Uint8Array; sign: (message: Uint8Array) => Uint8Array },
): SignedOrderReport {
  const bytes = signSign1({
    contentType: ORDER_REPORT_TYPE,
    kid: sha256(signer.identity),
    payload: encodeOrderReport(report),
    sign: signer.sign,
  });
  return openOrderReport(bytes);
}

/**
 * Opens a signed order report without judging its signature.
 * @throws {CloisterError} `COSE_MALFORMED`, `ORDER_REPORT_MALFORMED`, `CborError`
 */
export function openOrderReport(bytes: Uint8Array): SignedOrderReport {
  if (bytes.length > REPORT_BYTES_MAX + 512) throw shape.wrong("", "it is too long");
  const statement = openSign1(bytes);
  const typed = statement.contentType === ORDER_REPORT_TYPE && statement.kid.length === 32;
  shape.check(typed, "", "it is a signed statement of another kind");
  return {
    report: decodeOrderReport(statement.payload),
    kid: statement.kid,
    bytes,
    digest: digestOf(bytes),
  };
}

/** Tells whether the CVM with this identity key (Ed25519, 32 bytes) signed the report. */
export function verifyOrderReport(signed: SignedOrderReport, identity: Uint8Array): boolean {
  const named = equalBytes(signed.kid, sha256(identity));
  return named && verifySign1(openSign1(signed.bytes), identity, ORDER_REPORT_TYPE);
}

function integrityDocument(report: IntegrityReport): Record<string, unknown> {
  return {
    ...report,
    contract: fromHex(report.contract),
    orderId: fromHex(report.orderId),
    client: fromHex(report.client),
    salt: fromHex(report.salt),
    node: fromHex(report.node),
    inputs: report.inputs.map((input) => ({
      role: input.role,
      offerId: fromHex(input.offerId),
      content: digestBytes(input.content),
      sealed: digestBytes(input.sealed),
      consent: input.consent === undefined ? undefined : digestBytes(input.consent),
    })),
    engine: digestBytes(report.engine),
    args: digestBytes(report.args),
  };
}

const INTEGRITY_MEMBERS = [
  ...["version", "chainId", "contract", "orderId", "client", "salt", "node", "term", "epoch", "inputs"],
  ...["engine", "args", "egress", "limits", "recipient", "preparedAtMs"],
];

function readIntegrity(value: unknown, path: string, s: Shape): IntegrityReport {
  const document = s.record(value, path, INTEGRITY_MEMBERS);
  const at = (name: string): string => (path === "" ? name : `${path}.${name}`);
  const limits = s.record(document.limits, at("limits"), ["memoryBytes", "runMs", "outputBytes"]);
  const report: IntegrityReport = {
    version: s.exactly(document.version, at("version"), 1),
    chainId: s.count(document.chainId, at("chainId")),
    contract: s.address(document.contract, at("contract")),
    orderId: s.hex32(document.orderId, at("orderId")),
    client: s.address(document.client, at("client")),
    salt: s.hex32(document.salt, at("salt")),
    node: s.address(document.node, at("node")),
    term: s.count(document.term, at("term")),
    epoch: s.count(document.epoch, at("epoch")),
    inputs: s.list(document.inputs, at("inputs"), INPUTS_MAX, (item, where) => readInput(item, where, s)),
    engine: s.digest(document.engine, at("engine")),
    args: s.digest(document.args, at("args")),
    egress: s.text(document.egress, at("egress"), 253, EGRESS),
    limits: {
      memoryBytes: s.count(limits.memoryBytes, at("limits.memoryBytes")),
      runMs: s.count(limits.runMs, at("limits.runMs")),
      outputBytes: s.count(limits.outputBytes, at("limits.outputBytes")),
    },
    recipient: s.text(document.recipient, at("recipient"), 4096, RECIPIENT),
    preparedAtMs: s.count(document.preparedAtMs, at("preparedAtMs")),
  };
  const [engine, ...rest] = report.inputs;
  s.check(engine?.role === "engine", at("inputs"), "the engine does not come first");
  s.check(engine?.content === report.engine, at("engine"), "it is not the content of the engine's input");
  s.check(!rest.some((input) => input.role === "engine"), at("inputs"), "there is more than one engine");
  return report;
}

function readInput(value: unknown, path: string, s: Shape): ReportInput {
  const item = s.record(value, path, ["role", "offerId", "content", "sealed"], ["consent"]);
  const role = s.text(item.role, `${path}.role`, 6, /^(engine|data|model)$/) as ReportInput["role"];
  return {
    role,
    offerId: s.hex32(item.offerId, `${path}.offerId`),
    content: s.digest(item.content, `${path}.content`),
    sealed: s.digest(item.sealed, `${path}.sealed`),
    ...(item.consent === undefined ? {} : { consent: s.digest(item.consent, `${path}.consent`) }),
  };
}

function readEvidence(value: unknown, path: string): ReportEvidence {
  const names = ["tee", "evidence", "endorsements", "measurement", "tcbStatus", "simulated"];
  const item = shape.record(value, path, names);
  return {
    tee: shape.text(item.tee, `${path}.tee`, 40, NAME),
    evidence: shape.digest(item.evidence, `${path}.evidence`),
    endorsements: shape.digest(item.endorsements, `${path}.endorsements`),
    measurement: shape.digest(item.measurement, `${path}.measurement`),
    tcbStatus: shape.text(item.tcbStatus, `${path}.tcbStatus`, 80, CODE),
    simulated: shape.flag(item.simulated, `${path}.simulated`),
  };
}

function readOutput(value: unknown, path: string): ReportOutput {
  const item = shape.record(value, path, ["name", "content", "sealed", "sizeBytes"]);
  return {
    name: shape.text(item.name, `${path}.name`, 120, NAME),
    content: shape.digest(item.content, `${path}.content`),
    sealed: shape.digest(item.sealed, `${path}.sealed`),
    sizeBytes: shape.count(item.sizeBytes, `${path}.sizeBytes`),
  };
}

function checkReport(report: OrderReport): void {
  const { integrity, outputs, exit, startedAtMs, endedAtMs, wipe } = report;
  const names = new Set(outputs.map((output) => output.name));
  const total = outputs.reduce((sum, output) => sum + output.sizeBytes, 0);
  shape.check(names.size === outputs.length, "outputs", "two outputs have the same name");
  shape.check(total <= integrity.limits.outputBytes, "outputs", "together they exceed the limit");
  shape.check(
    (exit.code === 0) === (exit.reason === "done"),
    "exit",
    "code and reason contradict each other",
  );
  shape.check(exit.code === 0 || outputs.length === 0, "outputs", "a failed run has no outputs");
  shape.check(integrity.preparedAtMs <= startedAtMs, "startedAtMs", "it is before the preparation");
  shape.check(startedAtMs <= endedAtMs, "endedAtMs", "it is before the start");
  shape.check(endedAtMs <= wipe.wipedAtMs, "wipe.wipedAtMs", "it is before the end");
}
