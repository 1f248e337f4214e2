import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  cosignaturesOf,
  decodeAuthorityStatement,
  encodeAuthorityStatement,
  mergeCosignatures,
  parseCheckpoint,
  TransparencyLog,
  verifyNodeCertificate,
  type AuthorityStatement,
  type LogWitness,
  type LogWitnesses,
} from "@cloister/certification";
import {
  codeOf,
  digestFrom,
  encodeCanonical,
  parseAddress,
  type Cbor,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { rosterEpochOf } from "../src/authority-member.ts";
import { provenCount } from "../src/group-issuer.ts";
import { AuthorityRoom, type Party } from "./authority-room.ts";
import { Disk } from "./key-room.ts";

const DAY_MS = 86_400_000;
const STRANGER = parseAddress(`0x${"5a".repeat(20)}`);
let room: AuthorityRoom;
const node = (i: number): Party => room.members()[i] as Party;
const codes = (refusals: readonly Refusal[]): string[] => [...new Set(refusals.map(({ code }) => code))];
const codesOf = (verdict: Verdict<unknown>): string[] => (verdict.ok ? [] : codes(verdict.refusals));
type Rows = Readonly<Record<string, Cbor>>;
const codesThrown = (work: Promise<unknown>): Promise<string[]> =>
  work.then(
    () => [],
    (error: { details?: { refusals?: Refusal[] } }) =>
      codes(error.details?.refusals ?? [{ code: codeOf(error), reason: "" }]),
  );
const signers = (): string[] => room.certificate().statement.members.map(({ signer }) => signer);
const ids = (parties: readonly Party[]): string[] => parties.map(({ cvm }) => cvm.keys.settlement).toSorted();

beforeAll(async () => {
  room = await AuthorityRoom.open(3);
}, 60_000);
afterEach(() => {
  room.interfere = (_to, _method, body) => body;
  room.answered = (_from, _method, answer) => answer;
});
afterAll(() => room.close());

function checkCertificate(der: Uint8Array): boolean {
  const { key } = room.certificate();
  return verifyNodeCertificate(der, { authorityKey: key, nowMs: room.clock.nowMs(), realm: room.realm }).ok;
}

/** Changes every request of one kind on its way to a member. */
function bend(
  method: string,
  change: (body: Readonly<Record<string, Cbor>>) => Readonly<Record<string, Cbor>>,
) {
  room.interfere = (_to, asked, body) => (asked === method ? { ...body, ...change(body) } : body);
}

describe("three machines whose key none of them has", () => {
  test("name themselves in its certificate, with so much evidence that the rest could not sign", () => {
    const { statement, evidence } = room.certificate();
    expect(statement).toMatchObject({ threshold: 2, simulated: true });
    expect(signers().toSorted()).toEqual(ids(room.members()));
    expect(evidence).toHaveLength(2);
  });

  test("certify without any one of them", async () => {
    for (const out of room.members()) {
      room.stop(out);
      const verdict = await room.certify(node(0));
      await room.start(out);
      if (!verdict.ok) throw new Error(verdict.refusals[0].reason);
      expect(checkCertificate(verdict.value.certificate)).toBe(true);
      expect(verdict.value.registration.node).toBe(node(0).cvm.keys.settlement);
    }
  });

  test("certify nothing when one is left", async () => {
    room.stop(node(0));
    room.stop(node(1));
    const thrown = await codesThrown(room.issuer.challenge());
    await room.start(node(0));
    await room.start(node(1));
    expect(thrown).toEqual(["AUTHORITY_NOT_FOUNDED"]);
  });

  test("go on with the same key when all restart at once, and the keeper of the log too", async () => {
    const { key, der } = room.certificate();
    for (const party of room.members()) room.stop(party);
    await room.startKeeper();
    for (const party of room.members()) await room.start(party);
    expect(room.certificate().der).toEqual(der);
    expect(room.certificate().key).toEqual(key);
    expect(codesOf(await room.certify(node(1)))).toEqual([]);
  });
});

describe("each member judges for itself, whatever the one in the middle says", () => {
  test.each<[string, (body: Readonly<Record<string, Cbor>>) => Readonly<Record<string, Cbor>>, string]>([
    ["a lifetime of years", () => ({ lifetimeMs: 365 * DAY_MS }), "CERTIFY_LIFETIME_REFUSED"],
    [
      "a beginning of next week",
      ({ nowMs }) => ({ nowMs: (nowMs as number) + 7 * DAY_MS }),
      "CERTIFY_TIME_REFUSED",
    ],
    ["keys that the evidence does not bind", () => ({ settlement: STRANGER }), "CHALLENGE_MISMATCH"],
    ["a challenge of its own making", () => ({ challenge: new Uint8Array(32) }), "CHALLENGE_MISMATCH"],
    ["no parts", () => ({ parts: [] }), "CERTIFY_CHALLENGE_UNKNOWN"],
  ])("%s", async (_name, change, code) => {
    bend("authority.sign", change);
    expect(codesOf(await room.certify(node(0)))).toContain(code);
  });

  test("a measurement that the chain takes back meanwhile", async () => {
    const [[hex, approval] = ["", undefined]] = [...room.state.measurements].slice(-1);
    room.interfere = (_to, method, body) => {
      if (method === "authority.sign")
        room.state.measurements.set(hex as never, { effectiveAtSeconds: 1, revoked: true });
      return body;
    };
    const refused = codesOf(await room.certify(node(0)));
    room.state.measurements.set(hex as never, approval as never);
    expect(refused).toContain("MEASUREMENT_NOT_APPROVED");
  });

  test("software that nobody approved", async () => {
    const other = await room.enter("altered", "altered software", false);
    expect(codesOf(await room.certify(other))).toContain("MEASUREMENT_NOT_APPROVED");
  });

  test("the same challenge twice", async () => {
    let first: { to: Party; body: Cbor } | undefined;
    room.interfere = (to, method, body) => {
      if (method === "authority.sign") first ??= { to, body };
      return body;
    };
    expect(codesOf(await room.certify(node(0)))).toEqual([]);
    const { identity } = (room.parties[0] as Party).cvm.keys;
    const answer = await first?.to.member?.answer({ identity } as never, "authority.sign", first.body);
    expect(JSON.stringify(answer)).toContain("CERTIFY_CHALLENGE_UNKNOWN");
  });

  test("an operator that the node did not name", async () => {
    expect(
      await codesThrown(room.certify(node(0), { operator: STRANGER, signed: node(0).cvm.keys.settlement })),
    ).toEqual(["CERTIFY_OPERATOR_OTHER"]);
  });

  test("a registration for a certificate that this authority did not issue, or of another time", async () => {
    bend("authority.register", ({ certificate }) => ({
      certificate: (certificate as Uint8Array).with(100, 0x5a),
    }));
    expect(await codesThrown(room.certify(node(0)))).toContain("CERTIFICATE_SIGNATURE_INVALID");
    bend("authority.register", ({ nowMs }) => ({ nowMs: (nowMs as number) + 60_000 }));
    expect(await codesThrown(room.certify(node(0)))).toEqual(["CERTIFY_TIME_REFUSED"]);
  });

  test("a member that gives a wrong share is named", async () => {
    room.answered = (from, method, answer) =>
      method === "authority.sign" && from === node(0)
        ? { ...(answer as Record<string, Cbor>), share: new Uint8Array(32).fill(1) }
        : answer;
    room.stop(node(2));
    const verdict = await room.certify(node(1));
    await room.start(node(2));
    expect(codesOf(verdict)).toEqual(["CERTIFY_SHARE_WRONG"]);
    if (!verdict.ok) expect(verdict.refusals[0].reason).toContain(node(0).cvm.keys.settlement);
  });

  test.each<[string, (answer: Cbor) => Cbor]>([
    ["gives wrong shares", (answer) => ({ ...(answer as Rows), share: new Uint8Array(32).fill(1) })],
    ["refuses", () => ({ refusals: [{ code: "CERTIFY_TIME_REFUSED", reason: "It is not in the mood." }] })],
    [
      "answers nothing",
      () => {
        throw new Error("The connection broke.");
      },
    ],
  ])(
    "a member that %s is left out of the next signature, where the others are enough",
    async (_name, spoil) => {
      room.later(10 * 60_000);
      let asked = 0;
      room.answered = (from, method, answer) => {
        if (from !== node(0) || method !== "authority.sign") return answer;
        asked++;
        return spoil(answer);
      };
      room.stop(node(2));
      expect(await room.certify(node(1)).then(codesOf, codeOf)).not.toEqual([]);
      await room.start(node(2));
      room.stopClock();
      for (let i = 0; i < 5; i++) expect(codesOf(await room.certify(node(1)))).toEqual([]);
      expect(asked).toBe(1);
      room.later(10 * 60_000);
      room.stop(node(2));
      expect(await room.certify(node(1)).then(codesOf, codeOf)).not.toEqual([]);
      await room.start(node(2));
      room.startClock();
      room.later(10 * 60_000);
      expect(asked).toBe(2);
    },
  );

  test("a node that was revoked meanwhile gets no other certificate", async () => {
    const { settlement } = node(2).cvm.keys;
    room.interfere = (_to, method, body) => {
      if (method === "authority.sign") room.state.nodes.set(settlement, { status: "barred" } as never);
      return body;
    };
    const refused = codesOf(await room.certify(node(2)));
    const again = codesOf(await room.certify(node(2)));
    room.state.nodes.delete(settlement);
    expect([refused, again]).toEqual([["NODE_REVOKED"], ["NODE_REVOKED"]]);
  });

  test.each(["part", "begin", "evidence", "sign", "sign-own", "sign-list", "register"])(
    "authority.%s is for whoever keeps their log",
    async (name) => {
      const peer = { id: STRANGER, identity: node(1).cvm.keys.identity } as never;
      await expect(node(0).member?.answer(peer, `authority.${name}`, {})).rejects.toMatchObject({
        code: "AUTHORITY_LOG_OTHER",
      });
    },
  );
});

describe("the authority's own certificate", () => {
  const twist =
    (change: (statement: AuthorityStatement) => Partial<AuthorityStatement>) =>
    (body: Readonly<Record<string, Cbor>>) => {
      const statement = decodeAuthorityStatement(body["statement"] as Uint8Array);
      return { statement: encodeAuthorityStatement({ ...statement, ...change(statement) }) };
    };

  type Named = LogWitnesses & { readonly members: readonly [LogWitness, ...LogWitness[]] };
  const witnessed =
    (change: (witnesses: Named) => Partial<LogWitnesses>) =>
    ({ log }: AuthorityStatement) => ({
      log: { ...log, witnesses: { ...(log.witnesses as Named), ...change(log.witnesses as Named) } },
    });

  test.each<[string, (statement: AuthorityStatement) => Partial<AuthorityStatement>, string]>([
    ["another network", () => ({ chainId: 1 }), "CERTIFICATE_REALM_MISMATCH"],
    ["another threshold", () => ({ threshold: 3 }), "AUTHORITY_MEMBERS_OTHER"],
    [
      "a member that holds nothing",
      ({ members }) => ({ members: [{ ...members[0], signer: STRANGER }, ...members.slice(1)] }),
      "AUTHORITY_MEMBERS_OTHER",
    ],
    ["real hardware", () => ({ simulated: false }), "AUTHORITY_MEMBERS_OTHER"],
    [
      "another log",
      ({ log }) => ({ log: { ...log, key: new Uint8Array(32).fill(7) } }),
      "AUTHORITY_LOG_OTHER",
    ],
    [
      "a log without witnesses",
      ({ log: { origin, key } }) => ({ log: { origin, key } }),
      "AUTHORITY_LOG_OTHER",
    ],
    [
      "a log with a witness of another key",
      witnessed(({ members: [first, ...rest] }) => ({
        members: [{ ...first, key: first.key.map((byte) => byte ^ 1) }, ...rest],
      })),
      "AUTHORITY_LOG_OTHER",
    ],
    ["a log that one witness alone may vouch for", witnessed(() => ({ countMin: 1 })), "AUTHORITY_LOG_OTHER"],
  ])("with %s is not signed, and no evidence given for it", async (_name, change, code) => {
    const before = room.certificate().der;
    room.later(4 * DAY_MS);
    bend(
      "authority.evidence",
      twist((statement) => ({ ...change(statement) })),
    );
    expect(await codesThrown(room.issuer.found())).toContain(code);
    bend("authority.sign-own", twist(change));
    expect(await codesThrown(room.issuer.found())).toContain(code);
    room.later(-4 * DAY_MS);
    expect(room.certificate().der).toEqual(before);
  });

  test("is not signed without the evidence of those it proves", async () => {
    room.later(4 * DAY_MS);
    bend("authority.sign-own", () => ({ evidence: [] }));
    expect(await codesThrown(room.issuer.found())).toContain("AUTHORITY_MEMBERS_OTHER");
    room.later(-4 * DAY_MS);
  });

  test("is renewed on fresh evidence when half of its time is over, also without one member, under the same key", async () => {
    const before = room.certificate();
    await room.issuer.found();
    expect(room.certificate().der).toEqual(before.der);
    room.later(4 * DAY_MS);
    room.stop(node(1));
    await room.issuer.found();
    await room.start(node(1));
    const after = room.certificate();
    expect(after.key).toEqual(before.key);
    expect(after.notAfterMs).toBeGreaterThan(before.notAfterMs + 3 * DAY_MS);
    expect(after.statement.challenge).not.toEqual(before.statement.challenge);
  });
});

describe("members witness the log", () => {
  test("and sign nothing for one that forks", async () => {
    const { log } = room;
    await log.append([encodeCanonical("an entry")]);
    const answers = await room.issuer.witness(log.checkpoint, log.size);
    const { log: named } = room.certificate().statement;
    const { countMin, members } = named.witnesses as LogWitnesses;
    const note = mergeCosignatures(
      log.checkpoint,
      answers.map((answer) => answer.note),
      members,
    );
    expect([countMin, cosignaturesOf(parseCheckpoint(note), members).map((one) => one.node)]).toEqual([
      2,
      signers().toSorted(),
    ]);
    const keeper = room.parties[0] as Party;
    const key = { name: named.origin, key: keeper.cvm.keys.identity };
    const other = await TransparencyLog.open(new Disk(), key, keeper.cvm.sign);
    await other.append(Array.from({ length: log.size }, (_, i) => encodeCanonical(["another", i])));
    expect(await room.issuer.witness(other.checkpoint, other.size)).toEqual([]);
  });

  test("and whose signature for the chain is not its own counts for nothing", async () => {
    const { log } = room;
    await log.append([encodeCanonical("one more entry")]);
    let first: Cbor | undefined;
    room.answered = (from, method, answer) => {
      if (method !== "log.witness") return answer;
      first ??= (answer as Rows)["anchor"];
      return from === node(0) ? { ...(answer as Rows), anchor: first ?? null } : answer;
    };
    await room.issuer.witness(log.checkpoint, log.size);
    await log.append([encodeCanonical("and another")]);
    expect(await room.issuer.witness(log.checkpoint, log.size)).toHaveLength(2);
  });

  test("and hold it to what stands on the chain, also after their records were put back", async () => {
    const { log } = room;
    await log.append([encodeCanonical("an entry that is anchored")]);
    expect(await room.issuer.witness(log.checkpoint, log.size)).toHaveLength(3);
    room.state.logRoot = { size: log.size, root: digestFrom(log.root) };
    room.stop(node(0));
    await room.issuer.challenge();
    await node(0).disk.delete("witnessed");
    await room.start(node(0));
    const keeper = room.parties[0] as Party;
    const key = { name: room.certificate().statement.log.origin, key: keeper.cvm.keys.identity };
    const other = await TransparencyLog.open(new Disk(), key, keeper.cvm.sign);
    await other.append(Array.from({ length: log.size + 1 }, (_, i) => encodeCanonical(["another", i])));
    expect(await room.issuer.witness(other.checkpoint, other.size)).toEqual([]);
    await log.append([encodeCanonical("an entry after it")]);
    expect(await room.issuer.witness(log.checkpoint, log.size)).toHaveLength(3);
    delete room.state.logRoot;
  });

  test("and none for a log that the authority does not name", async () => {
    const stranger = node(0);
    const peer = { id: STRANGER, identity: stranger.cvm.keys.identity } as never;
    const asked = node(1).member?.answer(peer, "log.seen", { authority: room.certificate().der });
    await expect(asked).rejects.toMatchObject({ code: "AUTHORITY_LOG_OTHER" });
  });
});

test("when the chain takes one authority back and approves another, the key is handed on and the certificate follows", async () => {
  const before = room.certificate();
  const newcomer = await room.enter("node-4", "node");
  room.list(newcomer);
  await room.start(newcomer);
  const lost = node(0);
  room.stop(lost);
  room.approve(newcomer.cvm.keys.settlement, 5);
  room.state.authorities.set(lost.cvm.keys.settlement, { effectiveAtSeconds: 1, revoked: true });
  const members = [node(1), node(2), newcomer];
  await room.until(async () => {
    await room.issuer.found();
    expect(signers().toSorted()).toEqual(ids(members));
  });
  expect(room.certificate().key).toEqual(before.key);
  room.stop(node(1));
  expect(codesOf(await room.certify(node(2)))).toEqual([]);
}, 30_000);

test("a node that holds no share says so", async () => {
  const idle = await room.enter("idle", "node");
  await room.start(idle);
  const asked = idle.member?.answer({} as never, "authority.part", {});
  await expect(asked).rejects.toMatchObject({ code: "AUTHORITY_NOT_FOUNDED" });
});

test.each([
  [3, 2, 2],
  [4, 3, 3],
  [5, 3, 3],
  [9, 5, 5],
  [5, 2, 4],
])("of %i members with threshold %i, %i prove themselves", (count, threshold, proven) => {
  expect(provenCount({ threshold, members: Array.from({ length: count }) } as never)).toBe(proven);
});

test("a roster is as old as the approvals and revocations after the first ones", () => {
  const at = (...approvals: [number, boolean][]) =>
    rosterEpochOf({
      authorities: new Map(
        approvals.map(([effectiveAtSeconds, revoked], i) => [
          `0x${i}` as never,
          { effectiveAtSeconds, revoked },
        ]),
      ),
    });
  expect(at([7, false], [7, false], [7, false])).toBe(1);
  expect(at([7, false], [7, false], [9, false])).toBe(2);
  expect(at([7, true], [7, false], [9, false])).toBe(3);
});
