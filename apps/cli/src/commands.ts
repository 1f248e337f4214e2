/** The table of commands. It alone is read for `cloister --help`; a command's file is loaded when it is used. */
import type { Command } from "commander";
import type { Context } from "./cli/context.ts";

export interface CommandFile {
  register(program: Command, context: Context): void;
}

export interface CommandEntry {
  readonly name: string;
  readonly group: (typeof GROUPS)[number];
  /** Half a line for the overview: a verb first, no full stop. */
  readonly summary: string;
  load(): Promise<CommandFile>;
}

/** By what a person wants to do, in the order of a first visit. */
export const GROUPS = [
  "Try it:",
  "Own data, models or engines:",
  "Buy computing:",
  "Provide a machine:",
  "Check what others claim:",
] as const;

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "demo",
    group: "Try it:",
    summary: "see three parties train a model on data none of them can see",
    load: () => import("./commands/demo.ts"),
  },
  {
    name: "up",
    group: "Try it:",
    summary: "start a local network and keep it running",
    load: () => import("./commands/up.ts"),
  },
  {
    name: "down",
    group: "Try it:",
    summary: "stop the local network; its state stays",
    load: () => import("./commands/down.ts"),
  },
  {
    name: "status",
    group: "Try it:",
    summary: "show what runs, who leads, and which orders there are",
    load: () => import("./commands/status.ts"),
  },
  {
    name: "account",
    group: "Own data, models or engines:",
    summary: "make and show accounts: who offers, orders, pays and is paid",
    load: () => import("./commands/account.ts"),
  },
  {
    name: "keygen",
    group: "Own data, models or engines:",
    summary: "make a key pair to receive sealed files with",
    load: () => import("./commands/keygen.ts"),
  },
  {
    name: "try",
    group: "Own data, models or engines:",
    summary: "run an engine on files of your own, as a node would",
    load: () => import("./commands/try.ts"),
  },
  {
    name: "seal",
    group: "Own data, models or engines:",
    summary: "encrypt a file to its recipients",
    load: () => import("./commands/seal.ts"),
  },
  {
    name: "open",
    group: "Own data, models or engines:",
    summary: "decrypt what was sealed to you",
    load: () => import("./commands/open.ts"),
  },
  {
    name: "consent",
    group: "Own data, models or engines:",
    summary: "write and check what others may do with your object",
    load: () => import("./commands/consent.ts"),
  },
  {
    name: "files",
    group: "Own data, models or engines:",
    summary: "put sealed files into the object store, and get them back",
    load: () => import("./commands/files.ts"),
  },
  {
    name: "offers",
    group: "Own data, models or engines:",
    summary: "offer an engine, data or a model on your terms, and see what others offer",
    load: () => import("./commands/offers.ts"),
  },
  {
    name: "orders",
    group: "Buy computing:",
    summary: "order a run, follow it, have it refunded",
    load: () => import("./commands/orders.ts"),
  },
  {
    name: "results",
    group: "Buy computing:",
    summary: "fetch and decrypt a result, and its proof",
    load: () => import("./commands/results.ts"),
  },
  {
    name: "node",
    group: "Provide a machine:",
    summary: "join the network with one command, and see who is in it",
    load: () => import("./commands/node.ts"),
  },
  {
    name: "swarm",
    group: "Provide a machine:",
    summary: "see who leads, which groups meet which goals and why not; watch it live",
    load: () => import("./commands/swarm.ts"),
  },
  {
    name: "group",
    group: "Provide a machine:",
    summary: "see, rotate and retire the keys that nodes hold together",
    load: () => import("./commands/group.ts"),
  },
  {
    name: "sim",
    group: "Provide a machine:",
    summary: "try goals on simulated nodes, do them harm, and see a picture of what happened",
    load: () => import("./commands/sim.ts"),
  },
  {
    name: "verify",
    group: "Check what others claim:",
    summary: "check a proof file, offline and alone",
    load: () => import("./commands/verify.ts"),
  },
  {
    name: "lineage",
    group: "Check what others claim:",
    summary: "draw what a result was made of, from its proofs",
    load: () => import("./commands/lineage.ts"),
  },
  {
    name: "log",
    group: "Check what others claim:",
    summary: "look into the public log of certificates, reports and key releases",
    load: () => import("./commands/log.ts"),
  },
  {
    name: "monitor",
    group: "Check what others claim:",
    summary: "follow the log, hear what it says about you, catch it lying",
    load: () => import("./commands/monitor.ts"),
  },
  {
    name: "index",
    group: "Check what others claim:",
    summary: "keep the market in a database of your own, and ask it what happened",
    load: () => import("./commands/market-index.ts"),
  },
  {
    name: "evidence",
    group: "Check what others claim:",
    summary: "look into attestation evidence, and verify it",
    load: () => import("./commands/evidence.ts"),
  },
  {
    name: "endorsements",
    group: "Check what others claim:",
    summary: "get what the processors' makers say about their hardware",
    load: () => import("./commands/endorsements.ts"),
  },
  {
    name: "measure",
    group: "Check what others claim:",
    summary: "compute the measurement that a machine must have",
    load: () => import("./commands/measure.ts"),
  },
  {
    name: "digest",
    group: "Check what others claim:",
    summary: "print a file's digest, as offers and proofs write it",
    load: () => import("./commands/digest.ts"),
  },
];
