import { digestOf, parseAddress, parseHex32, utf8 } from "@cloister/core";
import type { IntegrityReport, OrderReport } from "../src/index.ts";

/** A report like the one of the first guide: one engine, two tables, one output. */
export function sampleIntegrity(changes: Partial<IntegrityReport> = {}): IntegrityReport {
  return {
    version: 1,
    chainId: 31_337,
    contract: parseAddress(`0x${"c0".repeat(20)}`),
    orderId: parseHex32(`0x${"0d".repeat(32)}`),
    client: parseAddress(`0x${"c1".repeat(20)}`),
    salt: parseHex32(`0x${"5a".repeat(32)}`),
    node: parseAddress(`0x${"de".repeat(20)}`),
    term: 3,
    epoch: 2,
    inputs: [input("engine"), input("data", 1), input("data", 2)],
    engine: digestOf(utf8("engine 0")),
    args: digestOf(utf8("args")),
    egress: "none",
    limits: { memoryBytes: 256 * 2 ** 20, runMs: 60_000, outputBytes: 2 ** 20 },
    recipient: "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg",
    preparedAtMs: 1_790_000_000_000,
    ...changes,
  };
}

export function sampleReport(changes: Partial<OrderReport> = {}): OrderReport {
  const integrity = changes.integrity ?? sampleIntegrity();
  return {
    version: 1,
    integrity,
    evidence: [
      {
        tee: "tdx",
        evidence: digestOf(utf8("evidence")),
        endorsements: digestOf(utf8("endorsements")),
        measurement: digestOf(utf8("measurement")),
        tcbStatus: "UpToDate",
        simulated: true,
      },
    ],
    outputs: [
      {
        name: "model.json",
        content: digestOf(utf8("model")),
        sealed: digestOf(utf8("sealed model")),
        sizeBytes: 5,
      },
    ],
    exit: { code: 0, reason: "done" },
    startedAtMs: integrity.preparedAtMs + 200,
    endedAtMs: integrity.preparedAtMs + 900,
    wipe: { wiped: ["keys", "inputs", "outputs", "sandbox"], wipedAtMs: integrity.preparedAtMs + 950 },
    ...changes,
  };
}

export function input(role: "engine" | "data" | "model", n = 0): IntegrityReport["inputs"][number] {
  return {
    role,
    offerId: parseHex32(`0x${String(n).repeat(64)}`),
    content: digestOf(utf8(`${role} ${n}`)),
    sealed: digestOf(utf8(`sealed ${role} ${n}`)),
    ...(role === "engine" ? {} : { consent: digestOf(utf8(`consent ${role} ${n}`)) }),
  };
}
