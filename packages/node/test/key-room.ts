import {
  buildHeader,
  combinePartials,
  groupRecipient,
  headerDigest,
  makePartial,
  type GroupKey,
  type GroupShare,
  type Header,
} from "@cloister/custody";
import {
  codeOf,
  decodeCanonical,
  digestOf,
  ed25519Signer,
  encodeCanonical,
  parseAddress,
  type Cbor,
  type NodeId,
  type RecordStore,
} from "@cloister/core";
import type { Cvm } from "../src/cvm.ts";
import { KeyGroup, type Roster } from "../src/key-group.ts";
import { loadOrCreateKeys } from "../src/keys.ts";
import { MessageFields } from "../src/message.ts";

export const entropy = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));

/** A disk that can stop a machine at one of its writes: before it, or after it and before anything else. */
export class Disk implements RecordStore {
  readonly #records = new Map<string, Uint8Array>();
  writes = 0;
  crashAt: { readonly write: number; readonly durable: boolean } | undefined;
  /** Stops the machine before the first write of such a record. */
  crashBefore: ((record: Uint8Array) => boolean) | undefined;
  onCrash: () => void = () => undefined;

  read(name: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#records.get(name));
  }

  write(name: string, record: Uint8Array): Promise<void> {
    const named = this.crashBefore?.(record) === true ? { durable: false } : undefined;
    const crash = this.crashAt?.write === this.writes++ ? this.crashAt : named;
    if (crash === undefined || crash.durable) this.#records.set(name, record.slice());
    if (crash === undefined) return Promise.resolve();
    this.onCrash();
    return Promise.reject(new Error("the machine stopped"));
  }

  delete(name: string): Promise<void> {
    this.#records.delete(name);
    return Promise.resolve();
  }

  list(prefix: string): Promise<string[]> {
    return Promise.resolve([...this.#records.keys()].filter((name) => name.startsWith(prefix)).toSorted());
  }
}

export interface Machine {
  readonly cvm: Cvm;
  readonly disk: Disk;
  keyGroup: KeyGroup | undefined;
}

/** Several machines that hold a key, their wires, and a clock that only the test moves. */
export class KeyRoom {
  readonly machines: Machine[] = [];
  readonly #wire: { from: NodeId; to: NodeId; body: Uint8Array }[] = [];
  /** May change or drop a message. */
  interfere: (from: Machine, to: Machine, body: Readonly<Record<string, Cbor>>) => Cbor | undefined = (
    _from,
    _to,
    body,
  ) => body;
  /** Messages that their receiver refused at once. */
  readonly refused: { readonly from: NodeId; readonly code: string }[] = [];
  nowMs = 1_000_000;

  async add(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const disk = new Disk();
      const keys = await loadOrCreateKeys(disk, entropy);
      const tee = {} as Cvm["tee"];
      const cvm: Cvm = { keys, sign: ed25519Signer(keys.identitySeed), sealed: disk, tee };
      const machine: Machine = { cvm, disk, keyGroup: undefined };
      disk.onCrash = () => (machine.keyGroup = undefined);
      this.machines.push(machine);
      await this.start(machine);
    }
  }

  get(i: number): Machine {
    const machine = this.machines[i];
    if (machine === undefined) throw new Error(`there is no machine ${i}`);
    return machine;
  }

  async start(machine: Machine): Promise<void> {
    machine.disk.crashAt = undefined;
    machine.disk.crashBefore = undefined;
    const from = machine.cvm.keys.settlement;
    const opened: KeyGroup = await KeyGroup.open({
      name: "test",
      cvm: machine.cvm,
      entropy,
      log: { info: () => undefined, warn: () => undefined },
      send: (to, body) => {
        if (machine.keyGroup === opened) this.#wire.push({ from, to, body: encodeCanonical(body) });
      },
      isReachable: (id) => this.#byId(id)?.keyGroup !== undefined,
    });
    machine.keyGroup = opened;
  }

  kill(machine: Machine): void {
    machine.keyGroup = undefined;
  }

  roster(epoch: number, members: readonly number[]): Roster {
    return {
      epoch,
      members: members.map((i) => {
        const { settlement, identity, wrap } = this.get(i).cvm.keys;
        return { id: settlement, identityKey: identity, wrapKey: wrap };
      }),
    };
  }

  /** Lets everybody look at the roster, and all messages arrive, again and again for so long. */
  async pass(roster: Roster, durationMs: number, stepMs = 500): Promise<void> {
    for (const endMs = this.nowMs + durationMs; this.nowMs < endMs;) {
      this.nowMs += stepMs;
      for (const { keyGroup } of this.machines) keyGroup?.look(roster, this.nowMs);
      await this.#deliver();
    }
  }

  async #deliver(): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const sent = this.#wire.splice(0);
      if (sent.length === 0) return;
      for (const { from, to, body } of sent) this.#arrive(from, to, body);
    }
  }

  #arrive(from: NodeId, to: NodeId, bytes: Uint8Array): void {
    const [sender, receiver] = [this.#byId(from), this.#byId(to)];
    if (sender === undefined || receiver === undefined) return;
    const body = this.interfere(sender, receiver, decodeCanonical(bytes) as Record<string, Cbor>);
    if (body === undefined) return;
    try {
      receiver.keyGroup?.received(from, new MessageFields(body), this.nowMs);
    } catch (error) {
      this.refused.push({ from, code: codeOf(error) });
    }
  }

  #byId(id: NodeId): Machine | undefined {
    return this.machines.find(({ cvm }) => cvm.keys.settlement === id);
  }

  /** The key in use on each of these machines. */
  groups(members: readonly number[]): (GroupKey | undefined)[] {
    return members.map((i) => this.get(i).keyGroup?.held?.group);
  }

  /** The one key that all of these machines use. */
  group(members: readonly number[]): GroupKey {
    const groups = this.groups(members);
    const [first] = groups;
    const same = groups.every(
      (one) => one !== undefined && one.groupId === first?.groupId && one.epoch === first.epoch,
    );
    if (first === undefined || !same) throw new Error("these machines use no common key");
    return first;
  }

  share(i: number): GroupShare {
    const held = this.get(i).keyGroup?.held;
    if (held === undefined) throw new Error(`machine ${i} holds no share`);
    return held.share;
  }
}

const OWNER = parseAddress(`0x${"ab".repeat(20)}`);
const FILE_KEY = entropy(16);

/** The header of a file that is sealed to a group. */
export function sealedTo(group: GroupKey): Header {
  return buildHeader(groupRecipient(group.recipient, OWNER).wrap(FILE_KEY, entropy), FILE_KEY);
}

/** Whether these shares open what is sealed to the group. */
export function opens(group: GroupKey, header: Header, shares: readonly GroupShare[]): boolean {
  const context = { orderId: "0x01", headerDigest: headerDigest(header) };
  const partials = shares.map((share) => makePartial(group, share, header, context, entropy));
  const verdict = combinePartials(group, header, context, partials);
  return verdict.ok && digestOf(verdict.value.fileKey) === digestOf(FILE_KEY);
}
