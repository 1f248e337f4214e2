import { createHash, randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { CloisterError, codeOf, digestFrom, parseDigest, type Digest } from "@cloister/core";
import { checked } from "./directory.ts";
import { encodePath, encodeQuery, signS3, type S3Credentials } from "./s3-signature.ts";
import { holdsRight, type KnownObject, type ResumableStore } from "./transfers.ts";

const MIB = 1 << 20;
const PARTS_MAX = 10_000;
/** What CopyObject takes at once; larger objects are copied part by part. */
const COPY_BYTES_MAX = 5 * 1024 * MIB;
const COPY_PART_BYTES = 1024 * MIB;
const XML_BYTES_MAX = 4 * MIB;
const PAGES_MAX = 100_000;

/** Where objects go, and how patient the store is. */
export interface S3Options extends S3Credentials {
  /** `https://host[:port]`; buckets are addressed by path, which every server understands. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly nowMs: () => number;
  /** Bytes of a part of a large upload; one part is held in memory. */
  readonly partBytes?: number;
  readonly attemptsMax?: number;
  readonly retryMs?: number;
  /** A server that says nothing for this long is given up; what is sent to it has time beyond that. Default two minutes. */
  readonly silentMs?: number;
}

/** An upload slower than this is taken for one that stands still. */
const SLOWEST_BYTES_PER_MS = 32;

interface Call {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/**
 * Opens a bucket of an S3-compatible server as an object store. Objects lie under `objects/`; large ones are
 * uploaded under `incoming/` until their digest is known, then copied within the server. The server is not believed:
 * whole reads are checked against the digest.
 */
export function openS3Store(options: S3Options): ResumableStore {
  return new S3Store(options);
}

class S3Store implements ResumableStore {
  readonly name: string;
  readonly #options: S3Options;
  readonly #partBytes: number;
  readonly #attemptsMax: number;
  readonly #silentMs: number;
  /** What ends a response whose body stays away. */
  readonly #ends = new WeakMap<Response, AbortController>();

  constructor(options: S3Options) {
    this.name = `S3 bucket ${options.endpoint}/${options.bucket}`;
    this.#options = options;
    this.#partBytes = options.partBytes ?? 16 * MIB;
    this.#attemptsMax = options.attemptsMax ?? 5;
    this.#silentMs = options.silentMs ?? 120_000;
  }

  async put(object: AsyncIterable<Uint8Array>): Promise<{ digest: Digest; sizeBytes: number }> {
    const hash = createHash("sha256");
    const incoming = `incoming/${randomUUID()}`;
    let upload: Upload | undefined;
    let sizeBytes = 0;
    try {
      let part: Uint8Array = new Uint8Array(0);
      for await (const { block, last } of partsOf(object, this.#partBytes)) {
        hash.update(block);
        sizeBytes += block.length;
        part = block;
        if (last && upload === undefined) break;
        upload ??= { key: incoming, id: await this.#createUpload(incoming), parts: [] };
        await this.#uploadPart(upload, upload.parts.length + 1, block);
      }
      const digest = digestFrom(hash.digest());
      if (upload === undefined) {
        await this.#expect(200, { method: "PUT", key: keyOf(digest), body: part });
      } else {
        await this.#complete(upload);
        await this.#move(incoming, keyOf(digest), sizeBytes);
      }
      return { digest, sizeBytes };
    } catch (failure) {
      if (upload !== undefined) await this.#abort(upload);
      throw failure;
    }
  }

  async putResumable(object: KnownObject): Promise<void> {
    const { digest, sizeBytes, onProgress = () => undefined } = object;
    if (await holdsRight(this, digest, sizeBytes)) {
      onProgress(sizeBytes);
      return;
    }
    const key = keyOf(digest);
    const partBytes = Math.max(this.#partBytes, Math.ceil(sizeBytes / PARTS_MAX));
    if (sizeBytes <= partBytes) {
      const body = await whole(object.read(0, sizeBytes));
      checkDigest(digestFrom(createHash("sha256").update(body).digest()), digest);
      await this.#expect(200, { method: "PUT", key, body });
      onProgress(sizeBytes);
      return;
    }
    const id = (await this.#findUpload(key)) ?? (await this.#createUpload(key));
    const upload: Upload = { key, id, parts: [] };
    const held = await this.#listParts(upload);
    const hash = createHash("sha256");
    for (let at = 0, number = 1; at < sizeBytes; at += partBytes, number++) {
      const body = await whole(object.read(at, Math.min(partBytes, sizeBytes - at)));
      hash.update(body);
      const tag = held.get(number);
      // A part's tag is its MD5, so that a part of another file under the same key is not taken for ours.
      if (tag === md5Of(body)) upload.parts.push(tag);
      else await this.#uploadPart(upload, number, body);
      onProgress(at + body.length);
    }
    try {
      checkDigest(digestFrom(hash.digest()), digest);
      await this.#complete(upload);
    } catch (failure) {
      if (codeOf(failure) === "OBJECT_CHANGED") await this.#abort(upload);
      throw failure;
    }
  }

  async *get(digest: Digest, range?: { offset: number; length: number }): AsyncGenerator<Uint8Array> {
    const key = keyOf(digest);
    if (range === undefined) {
      yield* checked(this.#read(digest, key, 0, undefined), digest, this.name);
      return;
    }
    const { offset, length } = range;
    if (offset < 0 || length < 0) throw outside(digest, range);
    if (length > 0) {
      yield* this.#read(digest, key, offset, length);
      return;
    }
    const found = await this.stat(digest);
    if (found === undefined) throw this.#missing(digest);
    if (offset > found.sizeBytes) throw outside(digest, range);
  }

  async stat(digest: Digest): Promise<{ sizeBytes: number } | undefined> {
    const response = await this.#call({ method: "HEAD", key: keyOf(digest) });
    if (response.status === 404) return undefined;
    if (response.status !== 200) throw await this.#failure(response);
    return { sizeBytes: Number(response.headers.get("content-length")) };
  }

  async *list(): AsyncGenerator<Digest> {
    let token: string | undefined;
    for (let page = 0; page < PAGES_MAX; page++) {
      const query = {
        "list-type": "2",
        prefix: "objects/",
        ...(token === undefined ? {} : { "continuation-token": token }),
      };
      const xml = await this.#xml({ method: "GET", query });
      for (const key of elements(xml, "Key")) {
        const hex = key.slice("objects/".length);
        if (/^[0-9a-f]{64}$/.test(hex)) yield parseDigest(`sha256:${hex}`);
      }
      const [next] = elements(xml, "NextContinuationToken");
      if (elements(xml, "IsTruncated")[0] !== "true") return;
      if (next === undefined || next === token) throw this.#misbehaves("it gave no next page of its list");
      token = next;
    }
  }

  async delete(digest: Digest): Promise<void> {
    await this.#remove(keyOf(digest));
  }

  /** Reads from an offset to the end or for a length; a connection that breaks is taken up where it broke. */
  async *#read(
    digest: Digest,
    key: string,
    offset: number,
    length: number | undefined,
  ): AsyncGenerator<Uint8Array> {
    let at = offset;
    let end = length === undefined ? undefined : offset + length;
    for (let attempt = 1; end === undefined || at < end; attempt++) {
      const before = at;
      try {
        const response = await this.#open(digest, key, at, end);
        const announced = response.headers.get("content-length");
        if (announced !== null) end ??= Number(announced);
        for await (const piece of this.#pieces(response)) {
          if (end !== undefined && at + piece.length > end)
            throw this.#misbehaves("it sent more than it announced");
          at += piece.length;
          yield piece;
        }
        if (end === undefined) return;
        if (at < end) throw new TypeError("the body ended early");
      } catch (failure) {
        if (!(failure instanceof Error) || failure instanceof CloisterError) throw failure;
        if (attempt >= this.#attemptsMax && at === before) throw this.#unreachable(failure);
        if (at > before) attempt = 0;
        await wait(this.#options.retryMs ?? 200);
      }
    }
  }

  /** A body's pieces. The time that a reader takes for one is not the server's. */
  async *#pieces(response: Response): AsyncGenerator<Uint8Array> {
    const silence = (): NodeJS.Timeout => setTimeout(() => this.#ends.get(response)?.abort(), this.#silentMs);
    let timer = silence();
    try {
      for await (const piece of response.body ?? []) {
        clearTimeout(timer);
        yield piece;
        timer = silence();
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async #open(digest: Digest, key: string, at: number, end: number | undefined): Promise<Response> {
    const isPart = at > 0 || end !== undefined;
    const range = isPart ? { range: `bytes=${at}-${end === undefined ? "" : end - 1}` } : undefined;
    const response = await this.#call({
      method: "GET",
      key,
      ...(range === undefined ? {} : { headers: range }),
    });
    if (response.status === 404) throw this.#missing(digest);
    if (response.status === 416) throw outside(digest, { offset: at, length: (end ?? at) - at });
    if (isPart && response.status === 200) {
      await response.body?.cancel();
      throw this.#misbehaves("it ignored the range that was asked for");
    }
    if (response.status !== 200 && response.status !== 206) throw await this.#failure(response);
    const total = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
    if (isPart && end !== undefined && Number(total) < end) {
      await response.body?.cancel();
      throw outside(digest, { offset: at, length: end - at });
    }
    return response;
  }

  async #createUpload(key: string): Promise<string> {
    const [id] = elements(await this.#xml({ method: "POST", key, query: { uploads: "" } }), "UploadId");
    if (id === undefined) throw this.#misbehaves("it began an upload without an id");
    return id;
  }

  async #findUpload(key: string): Promise<string | undefined> {
    const xml = await this.#xml({ method: "GET", query: { uploads: "", prefix: key } });
    const found = elements(xml, "Upload").find((upload) => elements(upload, "Key")[0] === key);
    return found === undefined ? undefined : elements(found, "UploadId")[0];
  }

  async #listParts(upload: Upload): Promise<Map<number, string>> {
    const parts = new Map<number, string>();
    let marker = "0";
    for (let page = 0; page < PARTS_MAX; page++) {
      const query = { uploadId: upload.id, "part-number-marker": marker };
      const xml = await this.#xml({ method: "GET", key: upload.key, query });
      for (const part of elements(xml, "Part")) {
        parts.set(Number(elements(part, "PartNumber")[0]), unquoted(elements(part, "ETag")[0] ?? ""));
      }
      const [next] = elements(xml, "NextPartNumberMarker");
      if (elements(xml, "IsTruncated")[0] !== "true" || next === undefined || next === marker) break;
      marker = next;
    }
    return parts;
  }

  async #uploadPart(upload: Upload, number: number, body: Uint8Array): Promise<void> {
    const query = { partNumber: String(number), uploadId: upload.id };
    const response = await this.#expect(200, { method: "PUT", key: upload.key, query, body });
    upload.parts.push(unquoted(response.headers.get("etag") ?? ""));
  }

  async #complete(upload: Upload): Promise<void> {
    const parts = upload.parts.map(
      (tag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>"${tag}"</ETag></Part>`,
    );
    const body = new TextEncoder().encode(
      `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`,
    );
    await this.#xml({ method: "POST", key: upload.key, query: { uploadId: upload.id }, body });
  }

  /** An upload that failed is given up; if that fails too, the bucket's own rules clear it away. */
  async #abort(upload: Upload): Promise<void> {
    await this.#call({ method: "DELETE", key: upload.key, query: { uploadId: upload.id } }).catch(
      () => undefined,
    );
    await this.#remove(upload.key).catch(() => undefined);
  }

  async #move(from: string, to: string, sizeBytes: number): Promise<void> {
    const source = { "x-amz-copy-source": encodePath(`/${this.#options.bucket}/${from}`) };
    if (sizeBytes <= COPY_BYTES_MAX) {
      await this.#xml({ method: "PUT", key: to, headers: source });
    } else {
      const upload: Upload = { key: to, id: await this.#createUpload(to), parts: [] };
      for (let at = 0, number = 1; at < sizeBytes; at += COPY_PART_BYTES, number++) {
        const range = {
          "x-amz-copy-source-range": `bytes=${at}-${Math.min(at + COPY_PART_BYTES, sizeBytes) - 1}`,
        };
        const query = { partNumber: String(number), uploadId: upload.id };
        const xml = await this.#xml({ method: "PUT", key: to, query, headers: { ...source, ...range } });
        upload.parts.push(unquoted(elements(xml, "ETag")[0] ?? ""));
      }
      await this.#complete(upload);
    }
    await this.#remove(from);
  }

  async #remove(key: string): Promise<void> {
    const response = await this.#call({ method: "DELETE", key });
    if (![200, 204, 404].includes(response.status)) throw await this.#failure(response);
  }

  async #expect(status: number, call: Call): Promise<Response> {
    const response = await this.#call(call);
    if (response.status !== status) throw await this.#failure(response);
    await response.body?.cancel();
    return response;
  }

  /** A call that answers with XML. Some calls answer 200 and put an error into the body. */
  async #xml(call: Call): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      const response = await this.#call(call);
      if (response.status !== 200) throw await this.#failure(response);
      const xml = await this.#text(response);
      const [error] = elements(xml, "Error");
      if (error === undefined) return xml;
      const code = elements(error, "Code")[0] ?? "";
      if (!/^(InternalError|SlowDown|ServiceUnavailable)$/.test(code) || attempt >= this.#attemptsMax)
        throw this.#refused(500, code);
      await wait((this.#options.retryMs ?? 200) * attempt);
    }
  }

  /** One signed call, repeated while the server is overloaded or the connection breaks. */
  async #call(call: Call): Promise<Response> {
    const { endpoint, bucket, nowMs, retryMs = 200 } = this.#options;
    const url = new URL(endpoint);
    const path = `/${bucket}${call.key === undefined ? "" : `/${call.key}`}`;
    const { query = {}, body = new Uint8Array(0), headers = {} } = call;
    const target = `${url.origin}${encodePath(path)}${Object.keys(query).length === 0 ? "" : `?${encodeQuery(query)}`}`;
    for (let attempt = 1; ; attempt++) {
      const signed = signS3(
        { method: call.method, host: url.host, path, query, headers, body },
        this.#options,
        nowMs(),
      );
      const end = new AbortController();
      const timer = setTimeout(() => end.abort(), this.#silentMs + body.length / SLOWEST_BYTES_PER_MS);
      try {
        const hasBody = call.method === "PUT" || call.method === "POST";
        const sent = hasBody ? { body: body as Uint8Array<ArrayBuffer> } : {};
        const response = await fetch(target, {
          method: call.method,
          headers: signed,
          redirect: "error",
          signal: end.signal,
          ...sent,
        });
        this.#ends.set(response, end);
        if (response.status !== 429 && response.status < 500) return response;
        if (response.status === 507 || attempt >= this.#attemptsMax) return response;
        await response.body?.cancel();
      } catch (failure) {
        if (attempt >= this.#attemptsMax) throw this.#unreachable(failure);
      } finally {
        clearTimeout(timer);
      }
      await wait(retryMs * attempt);
    }
  }

  async #text(response: Response): Promise<string> {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    try {
      for await (const piece of this.#pieces(response)) {
        bytes += piece.length;
        if (bytes > XML_BYTES_MAX) break;
        parts.push(piece);
      }
    } catch (failure) {
      throw this.#unreachable(failure);
    }
    return Buffer.concat(parts).toString("utf8");
  }

  async #failure(response: Response): Promise<CloisterError> {
    const xml = await this.#text(response).catch(() => "");
    return this.#refused(response.status, elements(xml, "Code")[0] ?? "");
  }

  #refused(status: number, code: string): CloisterError {
    const said = `answered ${status}${code === "" ? "" : ` (${code})`}`;
    if (status === 507 || /^(QuotaExceeded|XMinioStorageFull|EntityTooLarge)$/.test(code))
      return new CloisterError("OBJECT_STORE_FULL", `The ${this.name} is full: it ${said}.`, {
        hint: "Free some space or raise the quota.",
      });
    if (status === 401 || status === 403)
      return new CloisterError("OBJECT_STORE_NOT_WRITABLE", `The ${this.name} may not be used: it ${said}.`, {
        hint: "Check the keys, the bucket's policy and this machine's clock.",
      });
    return new CloisterError("OBJECT_STORE_FAILED", `The ${this.name} failed: it ${said}.`, {
      hint: "Check the bucket and the server.",
    });
  }

  #missing(digest: Digest): CloisterError {
    return new CloisterError("OBJECT_NOT_FOUND", `The ${this.name} does not hold ${digest}.`);
  }

  #misbehaves(how: string): CloisterError {
    return new CloisterError(
      "OBJECT_STORE_FAILED",
      `The ${this.name} does not keep to the protocol: ${how}.`,
    );
  }

  #unreachable(cause: unknown): CloisterError {
    return new CloisterError(
      "OBJECT_STORE_UNREACHABLE",
      `The ${this.name} cannot be reached, stays silent, or its connection keeps breaking.`,
      {
        hint: "Check the address and the network.",
        cause,
      },
    );
  }
}

interface Upload {
  readonly key: string;
  readonly id: string;
  /** Tags in the order of the parts. */
  readonly parts: string[];
}

function keyOf(digest: Digest): string {
  return `objects/${parseDigest(digest).slice("sha256:".length)}`;
}

function outside(digest: Digest, range: { offset: number; length: number }): CloisterError {
  return new CloisterError(
    "OBJECT_RANGE_OUTSIDE",
    `${range.length} bytes from ${range.offset} are not within ${digest}.`,
  );
}

function checkDigest(got: Digest, expected: Digest): void {
  if (got === expected) return;
  throw new CloisterError("OBJECT_CHANGED", "The object changed while it was read.", {
    hint: "Try again when nothing writes to it.",
  });
}

/** Regroups pieces into blocks of one size; the last is marked, and may be shorter or empty. */
async function* partsOf(
  pieces: AsyncIterable<Uint8Array>,
  partBytes: number,
): AsyncGenerator<{ block: Uint8Array; last: boolean }> {
  let held: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    let rest = piece;
    while (bytes + rest.length > partBytes) {
      held.push(rest.subarray(0, partBytes - bytes));
      yield { block: Buffer.concat(held), last: false };
      rest = rest.subarray(partBytes - bytes);
      held = [];
      bytes = 0;
    }
    held.push(rest);
    bytes += rest.length;
  }
  yield { block: Buffer.concat(held), last: true };
}

async function whole(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece);
  return Buffer.concat(parts);
}

function md5Of(body: Uint8Array): string {
  return createHash("md5").update(body).digest("hex");
}

/** The contents of elements of a name. S3's answers are flat enough that no more of XML is needed. */
function elements(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}(?: [^>]*)?>(.*?)</${name}>`, "gs"))].map(([, content]) =>
    plain(content ?? ""),
  );
}

function plain(text: string): string {
  const names: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", "#34": '"' };
  return text.includes("<")
    ? text
    : text.replace(/&(amp|lt|gt|quot|apos|#34);/g, (_, name: string) => names[name] as string);
}

function unquoted(tag: string): string {
  return tag.replace(/^"|"$/g, "");
}
