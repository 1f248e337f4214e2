/** One seeded fault: what is wrong, and the one place in the core where the text is changed. */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Why the simulator cannot tell it from the real core; absent: it must. */
  readonly explained?: string;
}

/** Faults that somebody could have written. Each must be found by the simulator. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: "a quorum is half the voters",
    file: "directory.ts",
    find: "return Math.floor(voters / 2) + 1;",
    replace: "return Math.floor(voters / 2);",
  },
  {
    name: "one watcher too few elects",
    file: "election.ts",
    find: "if (committee.filter(supports).length < watchQuorum(state)) return;",
    replace: "if (committee.filter(supports).length + 1 < watchQuorum(state)) return;",
  },
  {
    name: "votes for anybody are counted for one",
    file: "election.ts",
    find: "return vote?.candidate === candidate && vote.atMs >= sinceMs;",
    replace: "return vote !== undefined && vote.atMs >= sinceMs;",
  },
  {
    name: "a certificate lacks one vote",
    file: "election.ts",
    find: "  if (supporters.length < quorumOf(directory.voters.length) ||",
    replace: "  if (supporters.length + 1 < quorumOf(directory.voters.length) ||",
  },
  {
    name: "votes withdrawn still add up",
    file: "election.ts",
    find: "    if (vote !== undefined) vote.atMs = -Infinity;",
    replace: "",
  },
  {
    name: "a vote's signature is not checked",
    file: "election.ts",
    find: "if (!config.signatures.verify({",
    replace: "if (false && !config.signatures.verify({",
  },
  {
    name: "a vote is not persisted",
    file: "election.ts",
    find: '  persist(state);\n  count(state, "votes.cast");',
    replace: '  count(state, "votes.cast");',
  },
  {
    name: "a vote is sent before it is persisted",
    file: "election.ts",
    find: "  recordVote(state, config.self, term, { candidate, signature, atMs: nowMs });",
    replace:
      '  recordVote(state, config.self, term, { candidate, signature, atMs: nowMs });\n  const at = state.effects.findIndex((effect) => effect.kind === "persist");\n  state.effects.push(...state.effects.splice(at, 1));',
  },
  {
    name: "a restart forgets the term voted in",
    file: "election.ts",
    find: "votedTerm: record?.votedTerm ?? 0,",
    replace: "votedTerm: 0,",
  },
  {
    name: "the record does not hold the vote",
    file: "state.ts",
    find: "votedTerm: state.election.votedTerm,",
    replace: "votedTerm: 0,",
  },
  {
    name: "a voter votes twice in a term",
    file: "election.ts",
    find: "  if (election.votedTerm <= election.regime.term) return election.regime.term + 1;\n  if (nowMs < election.attemptUntilMs) return undefined;\n  return election.votedTerm + 1;",
    replace:
      "  if (nowMs < election.attemptUntilMs) return undefined;\n  election.votedTerm = election.regime.term;\n  return election.regime.term + 1;",
  },
  {
    name: "the lease is not checked",
    file: "election.ts",
    find: "    state.nowMs < leaseUntilMs(state) &&\n",
    replace: "",
  },
  {
    name: "the lease of a later term counts for this one",
    file: "election.ts",
    find: "if (!isLeader(state) || election.regime.term !== state.view.term) return 0;",
    replace: "if (!isLeader(state)) return 0;",
  },
  {
    name: "a leader that may not act wakes for its duties all the same",
    file: "step.ts",
    find: "return dueMs > state.nowMs ? dueMs : Infinity;",
    replace: "return dueMs;",
  },
  {
    name: "a probe carries all updates there are",
    file: "membership.ts",
    find: "Math.min(UPDATES_PER_MESSAGE_MAX - taken.length, state.updates.size)",
    replace: "state.updates.size",
  },
  {
    name: "one voter renews the lease for all",
    file: "election.ts",
    find: "renewals[watchQuorum(state) - 1]",
    replace: "renewals[0]",
  },
  {
    name: "a leader acts before the chain confirms it",
    file: "state.ts",
    find: "    state.view.leader === state.config.self &&\n    certificate.term === state.view.term",
    replace: "    certificate.term >= state.view.term",
  },
  {
    name: "a draining leader goes on",
    file: "election.ts",
    find: "    !state.draining &&\n    state.nowMs < lease",
    replace: "    state.nowMs < lease",
  },
  {
    name: "a certificate is published although the voters changed",
    file: "election.ts",
    find: "if (stillSuffices(state, own)) return;",
    replace: "return;",
  },
  {
    name: "an elected leader that never reaches the chain is followed for ever",
    file: "election.ts",
    find: "  if (state.nowMs - regime.sinceMs <= confirmWithinMs(state)) return;",
    replace: "  if (state.nowMs >= 0) return;",
  },
  {
    name: "a silent leader is not missed",
    file: "election.ts",
    find: 'return leaderSilent(state, regime.leader) ? "leader-silent" : undefined;',
    replace: 'return leaderSilent(state, regime.leader) && state.nowMs < 0 ? "" : undefined;',
  },
  {
    name: "one late answer is a lost leader",
    file: "election.ts",
    find: "  const overdueMs = leaderOverdueMs(state);\n",
    replace: "  const overdueMs = 1e6 * leaderOverdueMs(state);\n",
  },
  {
    name: "a silence that the successor does not notice replaces the leader",
    file: "election.ts",
    find: "  if (!isSampled(state) && !supports(candidate)) return;\n",
    replace: "",
  },
  {
    name: "a successor does not wait until a silence is more than a pause",
    file: "election.ts",
    find: "  return overdueMs > silenceProvenMs(state) || !(isSampled(state) || isHeir(state));",
    replace: "  return true;",
  },
  {
    name: "an evicted leader stays",
    file: "election.ts",
    find: '  if (!isEligible(state, regime.leader)) return "leader-evicted";\n',
    replace: "",
  },
  {
    name: "a restarted leader keeps quiet about its lost certificate",
    file: "election.ts",
    find: 'if (election.certificate?.term !== regime.term) return "own-term-forgotten";',
    replace: "",
  },
  {
    name: "an assignment's signature is not checked",
    file: "work.ts",
    find: 'if (!state.config.signatures.verify({ kind: "assignment"',
    replace: 'if (false && !state.config.signatures.verify({ kind: "assignment"',
  },
  {
    name: "an accepted order is not persisted",
    file: "work.ts",
    find: "seenOpen });\n  persist(state);",
    replace: "seenOpen });",
  },
  {
    name: "a closed order is kept",
    file: "work.ts",
    find: "else if (held.seenOpen || state.nowMs - held.sinceMs > VIEW_LAG_MS_MAX) {",
    replace: "else if (state.nowMs < 0) {",
  },
  {
    name: "a new leader does not adopt work",
    file: "placement.ts",
    find: "    if (placement === undefined) adoptPlacement(state, leadership, from, item);",
    replace: "    if (placement === undefined) continue;",
  },
  {
    name: "an assignment is sent once",
    file: "placement.ts",
    find: "  if (state.nowMs < placement.sentMs + state.timing.resendMs && placement.sentMs !== 0) return;",
    replace: "  if (placement.sentMs !== 0) return;",
  },
  {
    name: "an order stays on a dead node",
    file: "placement.ts",
    find: "  if (node === state.config.self || (status !== STATUS.dead && status !== STATUS.left)) return false;",
    replace: "  if (status !== STATUS.left) return false;",
  },
  {
    name: "a dead node's grace is not kept",
    file: "placement.ts",
    find: "return state.nowMs >= (state.table.sinceMs[indexOf(state, node)] as number) + graceMs;",
    replace: "return graceMs >= 0;",
  },
  {
    name: "a dead member's grace is not kept",
    file: "groups.ts",
    find: "  return state.nowMs >= fromMs + graceMs;",
    replace: "  return state.nowMs >= fromMs;",
  },
  {
    name: "a dead member is never replaced",
    file: "groups.ts",
    find: "  return state.nowMs >= fromMs + graceMs;",
    replace: "  return state.nowMs < fromMs;",
  },
  {
    name: "a new group keeps its epoch",
    file: "groups.ts",
    find: "epoch: (before?.epoch ?? 0) + 1,",
    replace: "epoch: Math.max(1, before?.epoch ?? 0),",
  },
  {
    name: "a proposal outlives a reorganisation",
    file: "groups.ts",
    find: "(confirmed?.epoch ?? 0) + 1 !== proposal.group.epoch;",
    replace: "(confirmed?.epoch ?? 0) >= proposal.group.epoch;",
  },
  {
    name: "a group is published once",
    file: "groups.ts",
    find: "if (state.nowMs >= proposal.sentMs + PUBLISH_REPEAT_MS) {",
    replace: "if (state.nowMs < 0) {",
  },
  {
    name: "revoked hardware stays eligible",
    file: "state.ts",
    find: "return index >= 0 && state.directory.members[index]?.eligible !== false;",
    replace: "return index >= 0;",
  },
  {
    name: "a peer with bad evidence is connected",
    file: "step.ts",
    find: "  state.table.connected[indexOf(state, id)] = 0;\n  state.attestedUntilMs.delete(id);",
    replace: "  state.table.connected[indexOf(state, id)] = 1;\n  state.attestedUntilMs.delete(id);",
  },
  {
    name: "messages for another chain are taken",
    file: "step.ts",
    find: "if (message.chainId !== chainId || message.swarm !== swarmTag(contract)) {",
    replace: 'if (message.chainId < 0 && chainId < 0 && swarmTag(contract) === "") {',
  },
  {
    name: "a refusal is counted against nobody",
    file: "state.ts",
    find: "  codes.set(code, times);",
    replace: "",
  },
  {
    name: "members that are not defined are ignored",
    file: "codec.ts",
    find: "  const body = parse(fields);\n  fields.end();",
    replace: "  const body = parse(fields);",
  },
  {
    name: "lists are as long as they are",
    file: "codec.ts",
    find: "if (!Array.isArray(value) || value.length > lengthMax) throw",
    replace: "if (!Array.isArray(value) || lengthMax < 0) throw",
  },
  {
    name: "suspicion ends in death at once",
    file: "membership.ts",
    find: "  return suspicion.sinceMs + longest * share;",
    replace: "  return suspicion.sinceMs + longest * share * 0;",
  },
  {
    name: "a suspect is never buried",
    file: "membership.ts",
    find: "  return suspicion.sinceMs + longest * share;",
    replace: "  return longest * share > 0 ? Infinity : 0;",
  },
  {
    name: "a wrong claim is not refuted",
    file: "membership.ts",
    find: '  state.incarnation = update.incarnation + 1;\n  persist(state);\n  if (update.status !== "left")',
    replace: '  if (update.status !== "left")',
  },
  {
    name: "a lost channel is not dialed again",
    file: "probing.ts",
    find: '    state.effects.push({ kind: "connect", peer });',
    replace: '    if (first) state.effects.push({ kind: "connect", peer });',
  },
  {
    name: "a clock that was set measures a round trip",
    file: "probing.ts",
    find: "  if (rttMs > RTT_MS_MAX) {",
    replace: "  if (rttMs > Infinity) {",
  },
  {
    name: "a coordinate's height runs away",
    file: "coordinate.ts",
    find: "heightMs: Math.min(moved.heightMs, rtt)",
    replace: "heightMs: moved.heightMs * (1 + rtt)",
  },
  {
    name: "everybody's word is doubted at once",
    file: "membership.ts",
    find: "  if (update.incarnation !== known) return update.incarnation > known;",
    replace: "  if (update.incarnation !== known) return update.incarnation < known;",
  },
  {
    name: "a leader forgets to report to itself",
    file: "reporting.ts",
    find: "  for (const sample of report.samples) if (sample.peer !== from) samples.set(sample.peer, sample);",
    replace:
      "  for (const sample of report.samples) if (from !== state.config.self) samples.set(sample.peer, sample);",
  },
  {
    name: "the committee alone elects",
    file: "election.ts",
    find: "if (supporters.length < quorumOf(directory.voters.length) ||",
    replace: "if (supporters.length < watchQuorum(state) ||",
  },
  {
    name: "nobody votes with the committee",
    file: "election.ts",
    find: "  if (election.regime.term === term) endorse(state, term, candidate);",
    replace: "",
  },
  {
    name: "only a large swarm's voters vote with a quorum they saw",
    file: "election.ts",
    find: "  if (election.regime.term === term) endorse(state, term, candidate);",
    replace: "  if (isSampled(state)) endorse(state, term, candidate);",
    explained:
      "whoever is elected and does not say so is given up after 700 ms and four round trips, and then voted anew; the vote only saves that time",
  },
  {
    name: "an elected leader is told a vote once",
    file: "election.ts",
    find: "  tellVote(state, leader);\n}",
    replace: "}",
    explained:
      "whoever is elected doubts the last leader itself, and each of its doubts is answered with the same vote; being told unasked is only sooner",
  },
  {
    name: "who watches no longer doubts for ever",
    file: "election.ts",
    find: '    if (election.doubting) setDoubting(state, false, "relieved");\n',
    replace: "",
  },
  {
    name: "a group too large for its goal stays",
    file: "groups.ts",
    find: " || length > goal.size.max;",
    replace: ";",
  },
  {
    name: "the lease needs fewer watchers the more of them died",
    file: "election.ts",
    find: "  return quorumOf(Math.min(COMMITTEE_MAX, state.directory.voters.length));",
    replace: "  return quorumOf(state.committee.length);",
  },
  {
    name: "a group with room does not grow",
    file: "grouping/plan.ts",
    find: "  const larger = grown !== undefined && grown.length > current.length;",
    replace: "  const larger = grown !== undefined && grown.length < current.length;",
  },
  {
    name: "an exclusive goal never gets what others have too much of",
    file: "grouping/yield.ts",
    find: "  for (const holder of useful) for (const node of surplusOf(problem, holder)) pool.add(node);",
    replace: "  for (const holder of useful) surplusOf(problem, holder);",
  },
  {
    name: "exclusive groups overlap",
    file: "grouping/plan.ts",
    find: "  if (goal.shared === false) for (const node of members) taken.add(node);",
    replace: "",
  },
  {
    name: "a member of refused evidence keeps its groups",
    file: "groups.ts",
    find: "leadership.draining.has(id) || isUnattested(state, id)) return true;",
    replace: "leadership.draining.has(id)) return true;",
  },
  {
    name: "an order that was done is never placed anew",
    file: "placement.ts",
    find: '  if (state.nowMs >= order.deadlineMs) return false;\n  if (placement.state === "failed"',
    replace:
      '  if (state.nowMs >= order.deadlineMs || placement.state === "done") return false;\n  if (placement.state === "failed"',
  },
  {
    name: "a report of another term counts for this one's",
    file: "placement.ts",
    find: "  if (item.term !== placement.assignment.term) return;",
    replace: "  if (item.term < placement.assignment.term) return;",
  },
  {
    name: "a wrong number shuts a member's reports out",
    file: "reporting.ts",
    find: "  return state.nowMs > last.atMs + REPORT_FORGET_PERIODS * periods * state.timing.reportMs;",
    replace: "  return state.nowMs < last.atMs - REPORT_FORGET_PERIODS * periods * state.timing.reportMs;",
  },
  {
    name: "a draining node gives its work up before anybody has it",
    file: "placement.ts",
    find: "  if (!leadership.draining.has(node)) withdraw(state, node, order.orderId);",
    replace: "  withdraw(state, node, order.orderId);",
  },
  {
    name: "a leader without a lease stays",
    file: "election.ts",
    find: 'return leaseLost(state) ? "lease-lost" : undefined;',
    replace: "return undefined;",
  },
  {
    name: "a resignation stands for ever",
    file: "election.ts",
    find: "if (resigned?.term === regime.term && nowMs - resigned.atMs <= DOUBT_FRESH_MS) return",
    replace: "if (resigned?.term === regime.term) return",
  },
];
