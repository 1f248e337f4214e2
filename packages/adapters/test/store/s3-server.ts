import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const CREDENTIALS = {
  accessKeyId: "test-key",
  secretAccessKey: "test-secret",
  region: "test-region-1",
};
export const BUCKET = "bucket";

/** What a server does wrong with one request; undefined leaves the request alone. */
export type Misbehavior = (
  request: { method: string; key: string; query: URLSearchParams; count: number },
  response: ServerResponse,
) => "handled" | "cut" | "short" | "ignore-range" | undefined;

interface Upload {
  readonly key: string;
  readonly parts: Map<number, Buffer>;
}

/**
 * An S3-compatible server in memory, strict where real ones are (signatures, digests, part tags, page sizes)
 * and able to misbehave like real ones.
 */
export class S3Server {
  readonly objects = new Map<string, Buffer>();
  readonly uploads = new Map<string, Upload>();
  readonly log: string[] = [];
  misbehave: Misbehavior = () => undefined;
  readonly pageSize = 2;
  #server: Server | undefined;
  #ids = 0;

  async start(): Promise<string> {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((failure: unknown) => {
        sendError(response, 500, "InternalError", String(failure));
      });
    });
    await new Promise<void>((resolve) => this.#server?.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url as string, "http://host");
    const body = await bodyOf(request);
    const [, bucket, ...rest] = decodeURIComponent(url.pathname).split("/");
    const key = rest.join("/");
    const method = request.method as string;
    const seen = `${method} ${key}`;
    this.log.push(seen);
    const count = this.log.filter((line) => line === seen).length;
    const what = this.misbehave({ method, key, query: url.searchParams, count }, response);
    if (what === "handled") return;
    const refusal = refusalOf(request, url, body);
    if (refusal !== undefined) return sendError(response, 403, refusal);
    if (bucket !== BUCKET) return sendError(response, 404, "NoSuchBucket");
    if (method === "GET" && (what === "cut" || what === "short" || what === "ignore-range"))
      return this.#getBadly(response, key, what);
    this.#dispatch(request, response, { method, key, query: url.searchParams, body });
  }

  #dispatch(
    request: IncomingMessage,
    response: ServerResponse,
    call: { method: string; key: string; query: URLSearchParams; body: Buffer },
  ): void {
    const { method, key, query, body } = call;
    if (key === "")
      return query.has("uploads") ? this.#listUploads(response, query) : this.#listObjects(response, query);
    if (query.has("uploads")) return this.#createUpload(response, key);
    if (query.has("uploadId")) return this.#multipart(response, call);
    if (method === "PUT") {
      const source = request.headers["x-amz-copy-source"];
      const bytes =
        source === undefined
          ? body
          : this.objects.get(decodeURIComponent(String(source)).split("/").slice(2).join("/"));
      if (bytes === undefined) return sendError(response, 404, "NoSuchKey");
      this.objects.set(key, bytes);
      const xml =
        source === undefined ? "" : `<CopyObjectResult><ETag>"${md5(bytes)}"</ETag></CopyObjectResult>`;
      return send(response, 200, xml, { etag: `"${md5(bytes)}"` });
    }
    if (method === "DELETE") {
      this.objects.delete(key);
      return send(response, 204, "");
    }
    this.#get(request, response, key, method === "HEAD");
  }

  #get(request: IncomingMessage, response: ServerResponse, key: string, isHead: boolean): void {
    const bytes = this.objects.get(key);
    if (bytes === undefined) return sendError(response, 404, "NoSuchKey");
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    if (range === null) return send(response, 200, isHead ? "" : bytes, { "content-length": bytes.length });
    const [from, to] = [
      Number(range[1]),
      range[2] === "" ? bytes.length - 1 : Math.min(Number(range[2]), bytes.length - 1),
    ];
    if (from >= bytes.length) return sendError(response, 416, "InvalidRange");
    send(response, 206, bytes.subarray(from, to + 1), {
      "content-range": `bytes ${from}-${to}/${bytes.length}`,
    });
  }

  #getBadly(response: ServerResponse, key: string, how: "cut" | "short" | "ignore-range"): void {
    const bytes = this.objects.get(key);
    if (bytes === undefined) return sendError(response, 404, "NoSuchKey");
    if (how === "ignore-range") return send(response, 200, bytes);
    if (how === "short") return send(response, 200, bytes.subarray(0, bytes.length >> 1));
    response.writeHead(200, { "content-length": bytes.length });
    response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
  }

  #createUpload(response: ServerResponse, key: string): void {
    const id = `upload-${++this.#ids}`;
    this.uploads.set(id, { key, parts: new Map() });
    send(
      response,
      200,
      `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
    );
  }

  #multipart(
    response: ServerResponse,
    { method, key, query, body }: { method: string; key: string; query: URLSearchParams; body: Buffer },
  ): void {
    const id = query.get("uploadId") as string;
    const upload = this.uploads.get(id);
    if (upload?.key !== key) return sendError(response, 404, "NoSuchUpload");
    if (method === "PUT") {
      upload.parts.set(Number(query.get("partNumber")), body);
      return send(response, 200, "", { etag: `"${md5(body)}"` });
    }
    if (method === "GET") return this.#listParts(response, upload, Number(query.get("part-number-marker")));
    if (method === "DELETE") {
      this.uploads.delete(id);
      return send(response, 204, "");
    }
    const named = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>"([0-9a-f]+)"/g)];
    const parts = named.map(([, number]) => upload.parts.get(Number(number)));
    const isRight =
      named.length > 0 && named.every(([, , tag], i) => parts[i] !== undefined && md5(parts[i]) === tag);
    if (!isRight) return sendError(response, 400, "InvalidPart");
    this.objects.set(key, Buffer.concat(parts as Buffer[]));
    this.uploads.delete(id);
    send(response, 200, "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>");
  }

  #listParts(response: ServerResponse, upload: Upload, marker: number): void {
    const after = [...upload.parts].filter(([number]) => number > marker).toSorted(([a], [b]) => a - b);
    const page = after.slice(0, this.pageSize);
    const rows = page.map(
      ([number, bytes]) =>
        `<Part><PartNumber>${number}</PartNumber><ETag>&quot;${md5(bytes)}&quot;</ETag></Part>`,
    );
    const next = `<NextPartNumberMarker>${page.at(-1)?.[0] ?? 0}</NextPartNumberMarker>`;
    send(
      response,
      200,
      `<ListPartsResult>${rows.join("")}<IsTruncated>${after.length > page.length}</IsTruncated>${next}</ListPartsResult>`,
    );
  }

  #listUploads(response: ServerResponse, query: URLSearchParams): void {
    const rows = [...this.uploads]
      .filter(([, { key }]) => key.startsWith(query.get("prefix") ?? ""))
      .map(([id, { key }]) => `<Upload><Key>${key}</Key><UploadId>${id}</UploadId></Upload>`);
    send(response, 200, `<ListMultipartUploadsResult>${rows.join("")}</ListMultipartUploadsResult>`);
  }

  #listObjects(response: ServerResponse, query: URLSearchParams): void {
    const keys = [...this.objects.keys()]
      .filter((key) => key.startsWith(query.get("prefix") ?? ""))
      .toSorted((a, b) => (a < b ? -1 : 1));
    const start = Number(query.get("continuation-token") ?? 0);
    const page = keys.slice(start, start + this.pageSize);
    const isMore = start + page.length < keys.length;
    const next = isMore ? `<NextContinuationToken>${start + page.length}</NextContinuationToken>` : "";
    const rows = page.map((key) => `<Contents><Key>${key}</Key></Contents>`).join("");
    send(
      response,
      200,
      `<ListBucketResult><IsTruncated>${isMore}</IsTruncated>${next}${rows}</ListBucketResult>`,
    );
  }
}

/** Recomputes the signature from the raw request, apart from the client's code. */
function refusalOf(request: IncomingMessage, url: URL, body: Buffer): string | undefined {
  const parts =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request,SignedHeaders=([^,]+),Signature=([0-9a-f]{64})$/.exec(
      request.headers.authorization ?? "",
    );
  if (parts === null) return "AccessDenied";
  const [, id, day, region, names, signature] = parts as unknown as string[];
  if (id !== CREDENTIALS.accessKeyId || region !== CREDENTIALS.region) return "InvalidAccessKeyId";
  const digest = createHash("sha256").update(body).digest("hex");
  if (request.headers["x-amz-content-sha256"] !== digest) return "XAmzContentSHA256Mismatch";
  const query = url.search
    .slice(1)
    .split("&")
    .filter((pair) => pair !== "")
    .toSorted((a, b) => (a < b ? -1 : 1))
    .join("&");
  const lines = (names as string).split(";").map((name) => `${name}:${String(request.headers[name])}`);
  if (!(names as string).split(";").includes("host")) return "AccessDenied";
  const canonical = [request.method, url.pathname, query, ...lines, "", names, digest].join("\n");
  const scope = `${day}/${region}/s3/aws4_request`;
  const toSign = [
    "AWS4-HMAC-SHA256",
    request.headers["x-amz-date"],
    scope,
    createHash("sha256").update(canonical).digest("hex"),
  ].join("\n");
  let key: Buffer = Buffer.from(`AWS4${CREDENTIALS.secretAccessKey}`);
  for (const part of scope.split("/")) key = createHmac("sha256", key).update(part).digest();
  const expected = createHmac("sha256", key).update(toSign).digest();
  return timingSafeEqual(expected, Buffer.from(signature as string, "hex"))
    ? undefined
    : "SignatureDoesNotMatch";
}

export function sendError(response: ServerResponse, status: number, code: string, message = ""): void {
  send(
    response,
    status,
    `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
  );
}

function send(
  response: ServerResponse,
  status: number,
  body: string | Buffer,
  headers: Record<string, string | number> = {},
): void {
  response.writeHead(status, headers);
  response.end(body);
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function md5(bytes: Buffer): string {
  return createHash("md5").update(bytes).digest("hex");
}
