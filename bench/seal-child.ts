/** The process that `seal.ts` measures: `seal-child.ts JOB FOLDER OUTPUT`, or the bare primitives over BYTES. */
import { createCipheriv, createHash, createSecretKey, randomBytes } from "node:crypto";
import { join } from "node:path";

const [job = "", where = "", output = ""] = process.argv.slice(2);
if (job.startsWith("cipher")) runPrimitives(Number(where), job.endsWith("digest"));
else await runOurs(job, where, output);
console.error(`resident ${process.resourceUsage().maxRSS >> 10}`);

/** The cipher once and the digest once or not at all, in 64 KiB, over memory that stays in the cache. */
function runPrimitives(sizeBytes: number, digest: boolean): void {
  const [key, block] = [createSecretKey(randomBytes(32)), randomBytes(65_536)];
  const hash = createHash("sha256");
  for (let at = 0; at < sizeBytes; at += block.length) {
    const cipher = createCipheriv("chacha20-poly1305", key, new Uint8Array(12), { authTagLength: 16 });
    const sealed = cipher.update(block);
    cipher.final();
    cipher.getAuthTag();
    if (digest) hash.update(block);
    sealed.buffer.transfer(0);
  }
}

async function runOurs(what: string, folder: string, to: string): Promise<void> {
  const { openFile, sealFile } = await import("../packages/adapters/src/store/sealed-files.ts");
  const { unwrapFileKey, x25519Identity } = await import("@cloister/custody/sealed");
  const identity = x25519Identity(new Uint8Array(32).fill(7));
  const [verb] = what.split(" ");
  const options = { digests: digestsOf(what), threads: what.includes("2 threads") ? 2 : 1 } as const;
  const path = (name: string) => join(folder, name);
  if (verb === "seal") {
    const entropy = (length: number) => new Uint8Array(randomBytes(length));
    await sealFile(path("plain"), path(to), [identity.recipient], entropy, options);
  } else {
    await openFile(path("sealed"), path(to), (header) => unwrapFileKey(header, [identity]), options);
  }
}

function digestsOf(what: string): "both" | "sealed" | "none" {
  if (what.includes("both")) return "both";
  return /^seal(?! bare)|digest/.test(what) ? "sealed" : "none";
}
