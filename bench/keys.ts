/**
 * The key-release group's work: generation, resharing, and the release of one file key, for 3 of 5 and 7 of 10.
 * Verifying the loader's evidence is not in it (bench of attestation). CPU milliseconds per participant, medians; all participants run in this one process, one after the other.
 *
 *   node bench/keys.ts [--rounds 5] [--json]
 */
import { randomBytes } from "node:crypto";
import { readFlags, wholeNumber } from "@cloister/tools/flags";
import { atMost, printReport } from "@cloister/tools/report";
import {
  digestOf,
  ed25519PublicKey,
  ed25519Signer,
  parseAddress,
  parseHex32,
  x25519PublicKey,
} from "../packages/core/src/index.ts";
import {
  buildHeader,
  combinePartials,
  consentDigest,
  createCeremony,
  encodeConsent,
  generateIdentity,
  groupRecipient,
  headerDigest,
  judgeRelease,
  makePartial,
  recipientDigest,
  releaseReportData,
  shareOf,
  stepCeremony,
  unwrapPartial,
  wrapPartial,
  type Ceremony,
  type CeremonyKeys,
  type CeremonyPlan,
  type GroupKey,
  type GroupMember,
  type GroupShare,
  type ReleaseFacts,
  type ReleaseRequest,
} from "../packages/custody/src/index.ts";

const RELEASE_CPU_MS_MAX = 50;
const SHAPES = [
  { threshold: 3, count: 5 },
  { threshold: 7, count: 10 },
];

const flags = readFlags("npm run bench:keys -- [--rounds N] [--json]", {
  rounds: { type: "string", default: "5" },
  json: { type: "boolean", default: false },
});

interface Node {
  readonly member: GroupMember;
  readonly keys: CeremonyKeys;
}

const entropy = (length: number) => new Uint8Array(randomBytes(length));
const OWNER = parseAddress(`0x${"ab".repeat(20)}`);
const results = SHAPES.map(({ threshold, count }) => measureShape(threshold, count));
report();

function measureShape(threshold: number, count: number) {
  const nodes = Array.from({ length: count }, (_, i) => createNode(i + 1));
  const rounds = Array.from({ length: wholeNumber("rounds", flags.rounds, 1) + 1 }, (_, round) => {
    const plan: CeremonyPlan = {
      name: `round ${round}`,
      epoch: 1,
      threshold,
      members: nodes.map((node) => node.member),
    };
    const generation = timed(() => runCeremony(plan, nodes));
    const { group, shares } = generation.value;
    const resharing = timed(() => reshare(group, shares, nodes, threshold));
    const release = releaseOne(group, shares);
    return { generation: generation.cpuMs / count, resharing: resharing.cpuMs / count, ...release };
  });
  // The first round warms the compiler up.
  const of = (name: keyof (typeof rounds)[number]) => median(rounds.slice(1).map((round) => round[name]));
  return {
    shape: `${threshold} of ${count}`,
    generationMs: of("generation"),
    resharingMs: of("resharing"),
    releaseMs: of("release"),
    combineMs: of("combine"),
  };
}

function createNode(index: number): Node {
  const [seed, wrapSecret] = [entropy(32), entropy(32)];
  const member = {
    id: `node-${index}`,
    index,
    identityKey: ed25519PublicKey(seed),
    wrapKey: x25519PublicKey(wrapSecret),
  };
  return { member, keys: { sign: ed25519Signer(seed), wrapSecret } };
}

function runCeremony(plan: CeremonyPlan, nodes: readonly Node[]): { group: GroupKey; shares: GroupShare[] } {
  const states = new Map<Node, Ceremony>(nodes.map((node) => [node, createCeremony(plan, node.member.id)]));
  const wire: { to: Node; bytes: Uint8Array }[] = [];
  const apply = (node: Node, input: Parameters<typeof stepCeremony>[1]) => {
    const { state, effects } = stepCeremony(states.get(node) as Ceremony, input, node.keys, entropy);
    states.set(node, state);
    for (const effect of effects) {
      if (effect.kind !== "broadcast") continue;
      // Every node has bytes of its own, as it would off the network: nothing is checked once for all.
      for (const to of nodes) if (to !== node) wire.push({ to, bytes: Uint8Array.from(effect.bytes) });
    }
  };
  for (const node of nodes) apply(node, { kind: "start" });
  for (let next = wire.shift(); next !== undefined; next = wire.shift())
    apply(next.to, { kind: "message", bytes: next.bytes });
  const shares = [...states].map(([node, state]) => shareOf(state, node.keys.wrapSecret));
  const { outcome } = [...states.values()][0] as Ceremony;
  if (outcome.kind !== "done") throw new Error("the ceremony failed");
  return { group: outcome.group, shares };
}

function reshare(
  group: GroupKey,
  shares: readonly GroupShare[],
  nodes: readonly Node[],
  threshold: number,
): void {
  const dealers = group.members.slice(0, threshold).map((member) => member.index);
  const dealing = nodes.map((node, i) => ({
    ...node,
    keys: { ...node.keys, previousShare: shares[i] as GroupShare },
  }));
  const plan: CeremonyPlan = {
    name: "reshare",
    epoch: 2,
    threshold,
    members: group.members,
    previous: { group, dealers },
  };
  if (runCeremony(plan, dealing).group.recipient !== group.recipient) throw new Error("the key changed");
}

/** One member's judgement and partial key, and the loader's combination, each by itself. */
function releaseOne(group: GroupKey, shares: readonly GroupShare[]): { release: number; combine: number } {
  const fileKey = entropy(16);
  const loader = generateIdentity(entropy);
  const header = buildHeader(groupRecipient(group.recipient, OWNER).wrap(fileKey, entropy), fileKey);
  const { request, facts } = releaseCase(group, header.headerBytes, loader.recipient.publicKey);
  const context = { orderId: request.orderId, headerDigest: headerDigest(header) };
  const answers = timed(() =>
    shares.map((share) => {
      const verdict = judgeRelease(request, facts);
      if (!verdict.ok) throw new Error(verdict.refusals[0].reason);
      const partial = makePartial(group, share, verdict.value.header, verdict.value.context, entropy);
      return wrapPartial(partial, verdict.value.wrapKey, context, entropy);
    }),
  );
  const combined = timed(() => {
    const partials = answers.value
      .slice(0, group.threshold)
      .map((answer) => unwrapPartial(answer, loader.secret, context));
    return combinePartials(group, header, context, partials);
  });
  if (!combined.value.ok || digestOf(combined.value.value.fileKey) !== digestOf(fileKey))
    throw new Error("another key");
  return { release: answers.cpuMs / shares.length, combine: combined.cpuMs };
}

function releaseCase(
  group: GroupKey,
  headerBytes: Uint8Array,
  wrapKey: Uint8Array,
): { request: ReleaseRequest; facts: ReleaseFacts } {
  const [orderId, offerId] = ["01", "02"].map((byte) => parseHex32(`0x${byte.repeat(32)}`)) as [
    ReturnType<typeof parseHex32>,
    ReturnType<typeof parseHex32>,
  ];
  const [engine, measurement, nonce] = [digestOf(entropy(4)), digestOf(entropy(4)), entropy(32)];
  const policy = {
    version: 1,
    engines: [engine],
    purposes: ["train"],
    runsMax: 1,
    outputBytesMax: 1000,
    egress: "none",
  } as const;
  const market = { chainId: 31337, contract: OWNER };
  return {
    request: {
      orderId,
      offerId,
      nonce,
      wrapKey,
      epoch: group.epoch,
      headerBytes,
      consentBytes: encodeConsent(policy),
    },
    facts: {
      nowMs: 1000,
      group,
      challenge: { nonce, expiresAtMs: 2000 },
      appraisal: {
        refusals: [],
        claims: {
          tee: "tdx",
          simulated: false,
          measurement,
          reportData: releaseReportData(orderId, nonce, wrapKey),
        },
      },
      allowSimulated: false,
      order: { isOpen: true, deadlineMs: 5000, node: OWNER, offerIds: [offerId] },
      offer: { owner: OWNER, headerDigest: digestOf(headerBytes), consentDigest: consentDigest(policy) },
      planned: {
        engine,
        purpose: "train",
        runsUsed: 0,
        outputBytesMax: 1000,
        recipientDigest: recipientDigest("age1"),
        egress: "none",
        node: OWNER,
        market,
      },
    },
  };
}

function timed<T>(work: () => T): { value: T; cpuMs: number } {
  const before = process.cpuUsage();
  const value = work();
  const { user, system } = process.cpuUsage(before);
  return { value, cpuMs: (user + system) / 1000 };
}

function report(): void {
  const goals = results.map(({ shape, releaseMs }) =>
    atMost(`release of one file key, ${shape}: CPU ms per node`, releaseMs, RELEASE_CPU_MS_MAX),
  );
  const figures = results.map((result) =>
    Object.fromEntries(
      Object.entries(result).map(([name, value]) => [
        name,
        typeof value === "number" ? round1(value) : value,
      ]),
    ),
  );
  const say = flags.json ? console.error : console.log;
  for (const figure of figures)
    say(
      Object.entries(figure)
        .map(([name, value]) => `${name} ${value}`)
        .join(", "),
    );
  printReport({ name: "keys", figures: { shapes: figures }, goals }, flags.json);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number;
}

function round1(value: number): number {
  return Math.round(value * 10) / 10;
}
