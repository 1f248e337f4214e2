import {
  mainPathOf,
  type Judge,
  type LoadFile,
  type VectorEntry,
  type VectorMutation,
  type VectorVerdict,
} from "./entry.ts";

/** How far our code agrees with one entry. Each list names what differs; empty lists mean agreement. */
export interface Comparison {
  readonly id: string;
  readonly tee: string;
  readonly verdict: Agreement;
  /** TCB status and advisories; not counted where the entry expects none. */
  readonly status: Agreement;
  readonly fields: Agreement;
  readonly mutations: Agreement;
  readonly codes: readonly string[];
}

export interface Agreement {
  readonly agree: number;
  readonly of: number;
  readonly differences: readonly string[];
}

/** Prose, and what is counted elsewhere. */
const NOT_EXPECTATIONS: ReadonlySet<string> = new Set([
  ...["verdict", "reason", "flags", "tcbStatus", "advisoryIds", "parse"],
]);

/** Judges an entry and its mutations, and holds the answers against what the entry expects. */
export function compareEntry(entry: VectorEntry, judge: Judge | undefined, load: LoadFile): Comparison {
  const { id, tee, expected } = entry;
  if (judge === undefined) return unjudged(entry, `no judge for kind "${entry.kind}"`);
  let answer: ReturnType<Judge>;
  try {
    answer = judge(entry, load);
  } catch (error) {
    return unjudged(entry, `threw ${String(error)}`);
  }
  const { tcbStatus, advisoryIds } = expected;
  const statuses: [string, unknown, unknown][] = [];
  if (tcbStatus !== undefined) statuses.push(["tcbStatus", answer.tcbStatus, tcbStatus]);
  if (Array.isArray(advisoryIds)) {
    const sorted = (ids: readonly string[] | undefined): string[] | undefined => ids?.toSorted(byText);
    statuses.push(["advisoryIds", sorted(answer.advisoryIds), sorted(advisoryIds as string[])]);
  }
  const further = Object.entries(expected).filter(([name]) => !NOT_EXPECTATIONS.has(name));
  const fields: [string, unknown, unknown][] = [
    ...Object.entries(entry.fields ?? {}).map(([name, value]) => triple(name, answer.fields[name], value)),
    ...further.map(([name, value]) => triple(name, answer.further?.[name], value)),
  ];
  return {
    ...{ id, tee, codes: answer.codes },
    verdict: agreement([["verdict", answer.verdict, dueVerdict(entry, answer.verdict)]]),
    status: agreement(statuses),
    fields: agreement(fields),
    mutations: agreement((entry.mutations ?? []).map((mutation) => mutate(entry, mutation, judge, load))),
  };
}

/**
 * The verdict that is due. Where an entry is valid with a status that it does not name, the status shows
 * online only (a certificate on hold): what can be judged from its files is that the evidence is valid.
 */
function dueVerdict({ expected }: VectorEntry, got: VectorVerdict): VectorVerdict {
  const unnamed = expected.verdict === "valid-with-status" && expected["tcbStatus"] === undefined;
  return unnamed && got === "valid" ? got : expected.verdict;
}

function mutate(
  entry: VectorEntry,
  mutation: VectorMutation,
  judge: Judge,
  load: LoadFile,
): [string, unknown, unknown] {
  const bytes = load(mainPathOf(entry)).slice();
  const at = mutation.offset < 0 ? bytes.length + mutation.offset : mutation.offset;
  bytes[at] = mutation.value ?? (bytes[at] ?? 0) ^ (mutation.xor ?? 0);
  const name = `mutation at ${mutation.offset}`;
  try {
    return [name, judge(entry, load, bytes).verdict, mutation.expect];
  } catch (error) {
    return [name, `threw ${String(error)}`, mutation.expect];
  }
}

function triple(name: string, got: unknown, expected: unknown): [string, unknown, unknown] {
  return [name, got, expected];
}

function unjudged(entry: VectorEntry, why: string): Comparison {
  const missed = (of: number): Agreement => ({ agree: 0, of, differences: of === 0 ? [] : [why] });
  return {
    ...{ id: entry.id, tee: entry.tee, codes: [] },
    verdict: missed(1),
    status: missed(entry.expected["tcbStatus"] === undefined ? 0 : 1),
    fields: missed(Object.keys(entry.fields ?? {}).length),
    mutations: missed(entry.mutations?.length ?? 0),
  };
}

function agreement(triples: readonly [string, unknown, unknown][]): Agreement {
  const differences = triples
    .filter(([, got, expected]) => canonical(got) !== canonical(expected))
    .map(([name, got, expected]) => `${name}: got ${canonical(got)}, expected ${canonical(expected)}`);
  return { agree: triples.length - differences.length, of: triples.length, differences };
}

function byText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** JSON with members in order, so that two objects compare by content. */
function canonical(value: unknown): string {
  return (
    JSON.stringify(value, (_, member: unknown) =>
      typeof member === "object" && member !== null && !Array.isArray(member)
        ? Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
        : member,
    ) ?? "nothing"
  );
}
