import { createHash, createHmac } from "node:crypto";

/** Who signs, and for which region. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
}

/** A request to be signed. `query` values are not yet encoded. */
export interface S3Request {
  readonly method: string;
  readonly host: string;
  /** Absolute, not yet encoded: `/bucket/key`. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/**
 * The headers that sign a request: AWS Signature Version 4 with the body's digest, as every S3-compatible
 * server checks it. ("Signature Calculations for the Authorization Header", Amazon S3 API reference.)
 */
export function signS3(
  request: S3Request,
  credentials: S3Credentials,
  nowMs: number,
): Record<string, string> {
  const time = new Date(nowMs).toISOString().replace(/[:-]|\.\d{3}/g, "");
  const bodyDigest = createHash("sha256").update(request.body).digest("hex");
  const headers: Record<string, string> = {
    ...request.headers,
    host: request.host,
    "x-amz-content-sha256": bodyDigest,
    "x-amz-date": time,
  };
  const names = Object.keys(headers).toSorted();
  const canonical = [
    request.method,
    encodePath(request.path),
    encodeQuery(request.query),
    ...names.map((name) => `${name}:${headers[name]?.trim()}`),
    "",
    names.join(";"),
    bodyDigest,
  ].join("\n");
  const scope = `${time.slice(0, 8)}/${credentials.region}/s3/aws4_request`;
  const digest = createHash("sha256").update(canonical).digest("hex");
  const signature = hmac(
    signingKey(credentials, time.slice(0, 8)),
    `AWS4-HMAC-SHA256\n${time}\n${scope}\n${digest}`,
  );
  const { host: _, ...sent } = headers;
  return {
    ...sent,
    authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope},SignedHeaders=${names.join(";")},Signature=${signature.toString("hex")}`,
  };
}

/** A path with everything encoded but its slashes. */
export function encodePath(path: string): string {
  return path.split("/").map(encode).join("/");
}

/** A query in the canonical order. */
export function encodeQuery(query: Readonly<Record<string, string>>): string {
  return Object.entries(query)
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .toSorted((a, b) => (a < b ? -1 : 1))
    .join("&");
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function signingKey(credentials: S3Credentials, day: string): Buffer {
  const parts = [day, credentials.region, "s3", "aws4_request"];
  return parts.reduce<Buffer>(
    (key, part) => hmac(key, part),
    Buffer.from(`AWS4${credentials.secretAccessKey}`),
  );
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
