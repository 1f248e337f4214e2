import { ed25519PublicKey, ed25519Signer, fromUtf8, sha256, toHex, utf8 } from "@cloister/core";
import {
  consistencyPath,
  cosignCheckpoint,
  inclusionPath,
  leafHash,
  nodeHash,
  rootOf,
  signCheckpoint,
  type HashReader,
} from "../../src/index.ts";

const SIZES = [1, 2, 3, 7, 8, 64, 100] as const;
const entries = Array.from({ length: 100 }, (_, i) => utf8(`entry ${i}`));
const hashAt: HashReader = async (level, index) =>
  level === 0
    ? leafHash(entries[index] as Uint8Array)
    : nodeHash(await hashAt(level - 1, 2 * index), await hashAt(level - 1, 2 * index + 1));
const hexes = (hashes: readonly Uint8Array[]): string[] => hashes.map(toHex);

/** Trees of the entries "entry 0", "entry 1", …; paths that hold and paths that do not; checkpoints. */
export async function logVectors() {
  return { tree: await treeVectors(), checkpoints: checkpointVectors() };
}

async function treeVectors() {
  const roots = await Promise.all(
    SIZES.map(async (size) => ({ size, root: toHex(await rootOf(size, hashAt)) })),
  );
  const inclusion: unknown[] = [];
  const consistency: unknown[] = [];
  for (const { size, root } of roots) {
    const index = Math.floor(size / 2);
    const path = await inclusionPath(index, size, hashAt);
    const base = { section: "§2", leaf: toHex(await hashAt(0, index)), index, size, root, path: hexes(path) };
    inclusion.push({ name: `entry ${index} of ${size}`, ...base, valid: true });
    inclusion.push({
      ...base,
      name: `entry ${index} of ${size}, one hash too many`,
      path: [...base.path, root],
      valid: false,
      code: "LOG_INCLUSION_INVALID",
    });
    inclusion.push({
      ...base,
      name: `entry ${index} of ${size} at the next index`,
      index: index + 1,
      valid: false,
      code: "LOG_INCLUSION_INVALID",
    });
    for (const { size: oldSize, root: oldRoot } of roots.filter((old) => old.size <= size)) {
      const proof = {
        section: "§2",
        oldSize,
        oldRoot,
        size,
        root,
        path: hexes(await consistencyPath(oldSize, size, hashAt)),
      };
      consistency.push({ name: `from ${oldSize} to ${size}`, ...proof, valid: true });
      consistency.push({
        ...proof,
        name: `from ${oldSize} to ${size}, another history`,
        oldRoot: toHex(sha256(utf8(oldRoot))),
        valid: false,
      });
    }
  }
  return { entries: '"entry " and the index, as UTF-8', roots, inclusion, consistency };
}

function checkpointVectors() {
  const seeds = { log: sha256(utf8("log")), witness: sha256(utf8("witness")) };
  const log = { name: "log.example/31337", key: ed25519PublicKey(seeds.log) };
  const witness = { name: "witness.example/w1", key: ed25519PublicKey(seeds.witness) };
  const note = signCheckpoint(
    { origin: log.name, size: 7, root: sha256(utf8("root")) },
    log,
    ed25519Signer(seeds.log),
  );
  const cosigned = cosignCheckpoint(note, witness, 1_790_000_000_000, ed25519Signer(seeds.witness));
  const text = fromUtf8(cosigned);
  const invalid: [string, string][] = [
    ["no signature", text.slice(0, text.indexOf("\n\n") + 2)],
    ["an unfinished last line", text.slice(0, -1)],
    ["a size with a leading zero", text.replace("\n7\n", "\n07\n")],
    ["a fourth line", text.replace("\n\n", "\nmore\n\n")],
    ["a root of another length", text.replace(/\n7\n.*\n\n/, "\n7\nAAAA\n\n")],
    ["base64 whose unused bits are set", text.replace(/.=\n\n/, "F=\n\n")],
    ["an origin with a space", text.replace("log.example/31337\n", "log example\n")],
  ];
  return {
    log: { name: log.name, key: toHex(log.key) },
    witness: { name: witness.name, key: toHex(witness.key), timeMs: 1_790_000_000_000 },
    valid: [
      { name: "signed by the log", section: "§3", note: fromUtf8(note), cosigned: false },
      { name: "co-signed by a witness", section: "§3", note: text, cosigned: true },
    ],
    invalid: invalid.map(([name, note]) => ({ name, section: "§3", note, code: "CHECKPOINT_MALFORMED" })),
  };
}
