import type { Command } from "commander";
import type { EntryView } from "../network/log-entry.ts";
import type { LogAccess, LogHead, LogOptions } from "../network/log-access.ts";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { readDocument, writeWhole } from "../cli/files.ts";
import { formatFields, formatTable, toJson } from "../cli/output.ts";
import { parseCount } from "../cli/parse.ts";

const CHECKPOINT_BYTES_MAX = 16_384;
const LISTED_DEFAULT = 20;

export function register(program: Command, context: Context): void {
  const log = commandOf(program, "log").description(
    "Look into the transparency log: certificates, order reports, refusals and key releases, as they were signed. What its server says counts only as far as it fits the checkpoint that the log signed, and the root that the chain holds.",
  );
  registerHead(log, context);
  registerList(log, context);
  registerShow(log, context);
  registerProve(log, context);
  registerCompare(log, context);
}

function withLog(command: Command): Command {
  return command
    .option("--url <address>", "the log's server (default: that of the network in --home)")
    .option("--key <name+id+key>", "the log's key (default: the one that the network's authority certifies)");
}

function registerHead(log: Command, context: Context): void {
  withLog(log.command("head"))
    .summary("show the log's newest checkpoint, and hold it against the chain")
    .description(
      "Show the newest state that the log signed, who co-signed it, and whether it continues the root that the chain holds.",
    )
    .option("-o, --output <file>", "keep the signed checkpoint in a file, for `cloister log compare`")
    .option("-f, --force", "replace a file that is there")
    .addHelpText(
      "after",
      examples(["cloister log head -o today.checkpoint", "keep what the log says today, to hold it to it"]),
    )
    .action((options: LogOptions & { output?: string; force?: boolean }) => showHead(options, context));
}

async function showHead(
  options: LogOptions & { output?: string; force?: boolean },
  context: Context,
): Promise<void> {
  const { access, head } = await openHead(context, options);
  const { formatNoteKey } = await import("@cloister/certification");
  const { size, root, origin } = head.checkpoint;
  const { by: witnesses, countMin: witnessesMin } = head.witnessed;
  const anchor = access.client?.chain.view()?.state.logRoot;
  if (options.output !== undefined) {
    await writeWhole(options.output, [head.note], { force: options.force === true });
  }
  const key = formatNoteKey(access.key);
  const rootHex = Buffer.from(root).toString("hex");
  const document = { origin, size, root: rootHex, witnesses, witnessesMin, anchor, key, url: access.url };
  context.output.result(document, () =>
    formatFields([
      ["log", origin],
      ["entries", String(size)],
      ["root", rootHex],
      ...witnessFields(head.witnessed),
      ["on the chain", anchorText(access, anchor)],
      ["key", key],
    ]),
  );
}

function witnessFields({ by, countMin }: LogHead["witnessed"]): [string, string][] {
  if (by.length === 0) return [["witnesses", "none: nobody else vouches that others are shown the same log"]];
  const lines = by.map(({ node, atMs }) => `${node} at ${new Date(atMs).toISOString().slice(0, 19)}`);
  return [
    ["witnesses", `${by.length}, of whom ${countMin} are due`],
    ...lines.map((line): [string, string] => ["", line]),
  ];
}

function anchorText(access: LogAccess, anchor: { readonly size: number } | undefined): string {
  if (access.client === undefined) return "not looked at: the log was named by its address and key";
  if (anchor === undefined) return "nothing yet";
  return `the root of the first ${anchor.size} entries, which this tree continues`;
}

interface ListOptions extends LogOptions {
  readonly from?: number;
  readonly count?: number;
  readonly kind?: string;
  readonly about?: string;
}

function registerList(log: Command, context: Context): void {
  withLog(log.command("list"))
    .summary("list entries")
    .description(
      "List entries, by default the newest. Each is proven to stand in the tree that the log signed.",
    )
    .option("--from <index>", "the first entry to look at", parseCount)
    .option("--count <number>", `how many to show (default: ${LISTED_DEFAULT})`, parseCount)
    .option("--kind <kind>", "only this kind: certificate, order-report, order-refusal, key-release, …")
    .option("--about <id>", "only what names this address, order, offer, digest or key, or its beginning")
    .addHelpText(
      "after",
      examples(
        ["cloister log list", "the newest entries"],
        ["cloister log list --about 0x2c…", "everything about one order"],
      ),
    )
    .action((options: ListOptions) => list(options, context));
}

async function list(options: ListOptions, context: Context): Promise<void> {
  const { access, head } = await openHead(context, options);
  const { isAbout } = await import("../network/log-entry.ts");
  const { size } = head.checkpoint;
  const count = options.count ?? LISTED_DEFAULT;
  const filtered = options.kind !== undefined || options.about !== undefined;
  const from = options.from ?? (filtered ? 0 : Math.max(0, size - count));
  const shown: ({ index: number } & EntryView)[] = [];
  for (let index = from; index < size && shown.length < count; index++) {
    const view = await readEntry(access, head, index);
    if (options.kind !== undefined && view.kind !== options.kind) continue;
    if (options.about !== undefined && !isAbout(view, options.about)) continue;
    shown.push({ index, ...view });
  }
  const entries = shown.map(({ index, kind, what, atMs, problem }) => ({ index, kind, what, atMs, problem }));
  context.output.result({ size, entries }, () =>
    entries.length === 0
      ? `Nothing of that among ${size} entries.`
      : formatTable(
          context.output.style,
          ["entry", "time", "kind", "what"],
          entries.map(({ index, kind, what, atMs, problem }) => [
            String(index),
            atMs === undefined ? "–" : new Date(atMs).toISOString().slice(0, 19),
            kind,
            problem === undefined ? what : `${what} ${problem}`,
          ]),
        ),
  );
}

function registerShow(log: Command, context: Context): void {
  withLog(log.command("show"))
    .summary("show one entry in full")
    .description("Show everything that one entry says, and prove that it stands in the tree.")
    .argument("<entry>", "its number", parseCount)
    .option("-o, --output <file>", "write the signed statement itself: DER of a certificate, else COSE_Sign1")
    .option("-f, --force", "replace a file that is there")
    .addHelpText(
      "after",
      examples(
        ["cloister log show 12", "read one entry"],
        ["cloister log show 0 -o authority.der", "for `openssl x509 -inform der -in authority.der -text`"],
      ),
    )
    .action((index: number, options: LogOptions & { output?: string; force?: boolean }) =>
      show(index, options, context),
    );
}

async function show(
  index: number,
  options: LogOptions & { output?: string; force?: boolean },
  context: Context,
): Promise<void> {
  const { access, head } = await openHead(context, options);
  const view = await readEntry(access, head, index);
  const { size } = head.checkpoint;
  if (options.output !== undefined) {
    const { decodeLogEntry } = await import("@cloister/certification");
    const { statement } = decodeLogEntry(await head.reader.entry(index));
    await writeWhole(options.output, [statement], { force: options.force === true });
  }
  context.output.result({ index, size, ...view }, () => [
    view.what,
    ...(view.problem === undefined ? [] : [context.output.style.bad(view.problem)]),
    `Entry ${index} of ${size}, proven to be in the tree that the log signed.`,
    "",
    toJson(view.statement),
  ]);
}

function registerProve(log: Command, context: Context): void {
  withLog(log.command("prove"))
    .summary("print the inclusion proof of one entry")
    .description(
      "Print the proof (RFC 9162 §2.1.3) that an entry is in the tree, for other tools: leaf, path and root in hex.",
    )
    .argument("<entry>", "its number", parseCount)
    .action((index: number, options: LogOptions) => prove(index, options, context));
}

async function prove(index: number, options: LogOptions, context: Context): Promise<void> {
  const { head } = await openHead(context, options);
  const { leafHash } = await import("@cloister/certification");
  const { size, root } = head.checkpoint;
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  const leaf = hex(leafHash(await head.reader.entry(index)));
  const path = (await provenPath(head, index)).map(hex);
  const proof = { index, size, leaf, path, root: hex(root) };
  context.output.result(proof, () => [
    ...formatFields([
      ["entry", `${index} of ${size}`],
      ["leaf", leaf],
      ["root", proof.root],
    ]),
    "path, from the leaf up:",
    ...path.map((hash) => `  ${hash}`),
  ]);
}

function registerCompare(log: Command, context: Context): void {
  withLog(log.command("compare"))
    .summary("hold a checkpoint that you or another kept against the log")
    .description(
      "Tell whether the log still tells the story of an earlier checkpoint: yours, or one that another saw. If it does not, the log has forked, and the two checkpoints prove it.",
    )
    .argument("<checkpoint>", "the file that was kept")
    .addHelpText(
      "after",
      examples(["cloister log compare yesterday.checkpoint", "did the log only grow since yesterday?"]),
    )
    .action((file: string, options: LogOptions) => compare(file, options, context));
}

async function compare(file: string, options: LogOptions, context: Context): Promise<void> {
  const kept = await readDocument(file, CHECKPOINT_BYTES_MAX);
  const { access, head } = await openHead(context, options);
  const { judgeContinuation } = await import("../network/log-access.ts");
  const { CloisterError } = await import("@cloister/core");
  const { oldSize, refusal } = await judgeContinuation(access, head, kept);
  if (refusal !== undefined) throw CloisterError.fromRefusals([refusal]);
  const { size } = head.checkpoint;
  context.output.result({ consistent: true, oldSize, size }, () =>
    oldSize <= size
      ? `The log's tree of ${size} entries continues the ${oldSize} of ${file}.`
      : `The ${oldSize} entries of ${file} continue the ${size} that the log shows now.`,
  );
}

/** Opens a log at its newest head, which must fit what the chain holds. */
async function openHead(
  context: Context,
  options: LogOptions,
): Promise<{ access: LogAccess; head: LogHead }> {
  const { judgeAnchor, openLog, readHead } = await import("../network/log-access.ts");
  const access = await openLog(context.home, options, context.nowMs());
  // The chain was read when the log was opened: a log that is honest can only be ahead of it.
  const anchor = access.client?.chain.view()?.state.logRoot;
  const head = await readHead(access);
  const refusal = await judgeAnchor(head, anchor);
  if (refusal === undefined) return { access, head };
  const { CloisterError } = await import("@cloister/core");
  throw CloisterError.fromRefusals([refusal]);
}

/** Reads an entry that the signed tree holds. */
async function readEntry(access: LogAccess, head: LogHead, index: number): Promise<EntryView> {
  const { decodeLogEntry } = await import("@cloister/certification");
  const { viewEntry } = await import("../network/log-entry.ts");
  await provenPath(head, index);
  const bytes = await head.reader.entry(index);
  try {
    return viewEntry(decodeLogEntry(bytes), access.authority?.key);
  } catch {
    return viewEntry(undefined);
  }
}

/** The inclusion path of an entry, once it holds. @throws {CloisterError} `LOG_INCLUSION_INVALID` */
async function provenPath({ checkpoint, reader }: LogHead, index: number): Promise<Uint8Array[]> {
  const { judgeInclusion, leafHash } = await import("@cloister/certification");
  const { size, root } = checkpoint;
  const leaf = leafHash(await reader.entry(index));
  const path = await reader.inclusion(index);
  const [refusal] = judgeInclusion({ leaf, index, size, root, path });
  if (refusal === undefined) return path;
  const { CloisterError } = await import("@cloister/core");
  throw CloisterError.fromRefusals([refusal]);
}
