import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parseCrl } from "@cloister/attestation";
import { issueRevocationList, verifyNodeCertificate } from "@cloister/certification";
import {
  codeOf,
  ed25519PublicKey,
  ed25519Signer,
  encodeCanonical,
  decodeCanonical,
  type Cbor,
  type NodeId,
  type Refusal,
} from "@cloister/core";
import { IssuedCertificates } from "../src/issued-certificates.ts";
import { MessageFields } from "../src/message.ts";
import { HEARTBEAT_MS, revokedBody, RevocationWatch, type Revoked } from "../src/revocation.ts";
import { AuthorityRoom, type Party } from "./authority-room.ts";
import { Disk } from "./key-room.ts";

const DAY_MS = 86_400_000;
let room: AuthorityRoom;
/** A node outside of the authority, and the certificate that it has. */
let outsider: Party;
let certificate: Uint8Array;
const id = (): NodeId => outsider.cvm.keys.settlement;
const entry = (): Revoked => ({ certificate, timeMs: room.clock.nowMs() });
const codesThrown = (work: Promise<unknown>): Promise<string[]> =>
  work.then(
    () => [],
    (error: { details?: { refusals?: Refusal[] } }) =>
      (error.details?.refusals ?? [{ code: codeOf(error), reason: "" }]).map(({ code }) => code),
  );

beforeAll(async () => {
  room = await AuthorityRoom.open(3);
  room.stopClock();
  outsider = await room.enter("outsider", "node");
  const issued = await room.certify(outsider);
  if (!issued.ok) throw new Error(issued.refusals[0].reason);
  ({ certificate } = issued.value);
  room.state.nodes.set(id(), { status: "active", certificate: issued.value.registration } as never);
}, 60_000);
beforeEach(() => bar(true));
afterEach(() => (room.interfere = (_to, _method, body) => body));
afterAll(() => room.close());

function bar(barred: boolean): void {
  const record = room.state.nodes.get(id());
  if (record !== undefined) record.status = barred ? "barred" : "active";
}

/** A relying party that asks for these lists, one after the other. */
function watching(...lists: { list: Uint8Array; revoked: readonly Revoked[] }[]) {
  const barred: NodeId[] = [];
  const watch = new RevocationWatch({
    realm: room.realm,
    clock: room.clock,
    timers: { wait: () => Promise.resolve() },
    log: { info: () => undefined, warn: () => undefined },
    authority: () => room.issuer.papers?.certificate,
    ask: () => {
      const next = lists.shift();
      const answer = { list: next?.list ?? new Uint8Array(0), revoked: revokedBody(next?.revoked ?? []) };
      return Promise.resolve(new MessageFields(decodeCanonical(encodeCanonical(answer))));
    },
    bar: (node) => void barred.push(node),
  });
  return { watch, barred };
}

describe("the members sign what the chain says", () => {
  test("a list of the node that it barred, good for two heartbeats", async () => {
    const list = await room.issuer.revocationList([entry()]);
    const crl = parseCrl(list);
    expect(crl.revoked.size).toBe(1);
    expect((crl.nextUpdateMs ?? 0) - crl.thisUpdateMs).toBe(2 * HEARTBEAT_MS);
    const options = { authorityKey: room.certificate().key, nowMs: room.clock.nowMs(), realm: room.realm };
    const verdict = verifyNodeCertificate(certificate, { ...options, revocationList: list });
    expect(verdict.ok ? [] : verdict.refusals.map(({ code }) => code)).toEqual(["CERTIFICATE_REVOKED"]);
  });

  test("an empty list while nobody is barred", async () => {
    bar(false);
    expect(parseCrl(await room.issuer.revocationList([])).revoked.size).toBe(0);
  });

  test.each<[string, boolean, () => readonly Revoked[], string]>([
    ["no list that leaves out whom the chain barred", true, () => [], "REVOCATION_LIST_WRONG"],
    ["no list that names whom it did not bar", false, () => [entry()], "REVOCATION_LIST_WRONG"],
    [
      "no list of times to come",
      true,
      () => [{ certificate, timeMs: room.clock.nowMs() + DAY_MS }],
      "REVOCATION_LIST_WRONG",
    ],
  ])("%s", async (_name, barred, revoked, code) => {
    bar(barred);
    expect(await codesThrown(room.issuer.revocationList(revoked()))).toContain(code);
  });

  test("no list of yesterday, and none twice", async () => {
    let seen: { to: Party; body: Cbor } | undefined;
    room.interfere = (to, method, body) => {
      if (method !== "authority.sign-list") return body;
      seen ??= { to, body };
      return { ...body, nowMs: (body["nowMs"] as number) - DAY_MS / 2 };
    };
    expect(await codesThrown(room.issuer.revocationList([entry()]))).toContain("CERTIFY_TIME_REFUSED");
    const { identity } = (room.parties[0] as Party).cvm.keys;
    const again = await seen?.to.member?.answer({ identity } as never, "authority.sign-list", seen.body);
    expect(JSON.stringify(again)).toContain("CERTIFY_CHALLENGE_UNKNOWN");
  });
});

describe("a node that hears the list", () => {
  test("keeps away from whom it names, within one heartbeat", async () => {
    const revoked = [entry()];
    const { watch, barred } = watching({ list: await room.issuer.revocationList(revoked), revoked });
    await watch.hear();
    expect(barred).toEqual([id()]);
    expect(watch.heardMs).toBeDefined();
  });

  test("does nothing to a node whose certificate is shown and not listed", async () => {
    bar(false);
    const list = await room.issuer.revocationList([]);
    const { watch, barred } = watching({ list, revoked: [entry()] });
    await watch.hear();
    expect(barred).toEqual([]);
  });

  test("believes no list that others signed, none that is older, and none that has run out", async () => {
    const old = await room.issuer.revocationList([entry()]);
    room.later(2_000);
    const fresh = await room.issuer.revocationList([entry()]);
    const seed = new Uint8Array(32).fill(3);
    const nowMs = room.clock.nowMs();
    const forged = issueRevocationList(
      room.certificate().key,
      { number: 1, thisUpdateMs: nowMs, nextUpdateMs: nowMs + DAY_MS, revoked: [] },
      ed25519Signer(seed),
    );
    expect(ed25519PublicKey(seed)).not.toEqual(room.certificate().key);
    const lists = [fresh, old, forged, fresh].map((list) => ({ list, revoked: [entry()] }));
    const { watch, barred } = watching(...lists);
    await watch.hear();
    expect(await codesThrown(watch.hear())).toContain("REVOCATION_ROLLED_BACK");
    expect(await codesThrown(watch.hear())).toContain("REVOCATION_CRL_SIGNATURE_INVALID");
    room.later(DAY_MS / 24);
    expect(await codesThrown(watch.hear())).toContain("REVOCATION_CRL_EXPIRED");
    expect(barred).toEqual([id()]);
  });
});

test("the verifier of a node lets in nobody whom the chain or a list barred", async () => {
  bar(false);
  const verifier = room.verifier();
  const before = verifier.policyNow();
  expect(verifier.isBarred(id())).toBe(false);
  bar(true);
  expect(verifier.isBarred(id())).toBe(true);
  expect(verifier.policyNow()).not.toBe(before);
  bar(false);
  verifier.bar(id());
  expect(verifier.policyNow()).not.toBe(before);
  const { identity, wrap } = outsider.cvm.keys;
  const reportData = new Uint8Array(64).fill(1);
  const evidence = await outsider.cvm.tee.evidence(reportData);
  const machine = { cpus: 1, memoryBytes: 1, gpus: 0 };
  const introduced = { settlement: id(), identity, wrap, machine, tee: "tdx", evidence, reportData };
  expect(await verifier.admission()(introduced)).toMatchObject({
    ok: false,
    refusals: [{ code: "NODE_REVOKED" }],
  });
  expect(await room.verifier().admission()(introduced)).toMatchObject({ ok: true });
});

test("all that was issued to a node and is good can be revoked, also after a restart", async () => {
  const disk = new Disk();
  const issued = new IssuedCertificates(disk);
  bar(false);
  const second = await room.certify(outsider);
  if (!second.ok) throw new Error(second.refusals[0].reason);
  await issued.note(id(), certificate);
  await issued.note(id(), second.value.certificate);
  const nowMs = room.clock.nowMs();
  const first = await issued.of([id()], nowMs);
  expect(first.map((one) => one.certificate)).toEqual([certificate, second.value.certificate]);
  // The time at which it was revoked stays what it was.
  expect(await new IssuedCertificates(disk).of([id()], nowMs + 60_000)).toEqual(first);
  expect(await issued.of([id()], nowMs + 2 * DAY_MS)).toEqual([]);
  expect(await issued.of([], nowMs)).toEqual([]);
});
