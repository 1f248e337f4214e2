import { CloisterError, concat } from "@cloister/core";

/** One request to a vendor's service. */
export interface VendorRequest {
  readonly url: string;
  /** Sent with POST; without it the request is a GET. */
  readonly body?: { readonly bytes: Uint8Array; readonly contentType: string };
  readonly bodyBytesMax?: number;
}

export interface VendorAnswer {
  readonly bytes: Uint8Array;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface HttpOptions {
  /** For one attempt, from connecting to the last byte. */
  readonly timeoutMs?: number;
  readonly attemptsMax?: number;
  /** The longest that a service's Retry-After is obeyed. */
  readonly waitMsMax?: number;
  readonly sleep?: (delayMs: number) => Promise<void>;
}

const BODY_BYTES_MAX = 4 * 1024 * 1024;
const FIRST_WAIT_MS = 250;

/**
 * Asks a vendor's service, and again when it is slow, busy, broken or cut off; `accept` reads the answer, and what
 * it throws counts as a broken answer.
 * @throws {CloisterError} `ENDORSEMENTS_UNAVAILABLE` (naming every attempt's failure), `ENDORSEMENTS_NOT_FOUND`
 */
export async function askVendor<T>(
  request: VendorRequest,
  accept: (answer: VendorAnswer) => T,
  options: HttpOptions = {},
): Promise<T> {
  const { attemptsMax = 4, waitMsMax = 30_000, sleep = sleepMs } = options;
  const failures: string[] = [];
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    try {
      return accept(await once(request, options.timeoutMs ?? 15_000));
    } catch (error) {
      if (error instanceof CloisterError && error.code === "ENDORSEMENTS_NOT_FOUND") throw error;
      failures.push((error as Error).message);
      const wishedMs = error instanceof BusyError ? error.retryAfterMs : undefined;
      if (attempt + 1 < attemptsMax)
        await sleep(Math.min(wishedMs ?? FIRST_WAIT_MS * 2 ** attempt, waitMsMax));
    }
  }
  throw new CloisterError(
    "ENDORSEMENTS_UNAVAILABLE",
    `${new URL(request.url).host} gave no usable answer in ${attemptsMax} attempts: ${[...new Set(failures)].join("; ")}.`,
    { hint: "Try again later, or import a bundle of endorsements.", details: { url: request.url, failures } },
  );
}

/** Waits for all, so that nothing goes on in the background once one has failed. @throws what failed first in order */
export async function allOrFirstFailure<T extends readonly Promise<unknown>[]>(
  work: readonly [...T],
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work);
  return Promise.all(work);
}

async function once(
  { url, body, bodyBytesMax = BODY_BYTES_MAX }: VendorRequest,
  timeoutMs: number,
): Promise<VendorAnswer> {
  const signal = AbortSignal.timeout(timeoutMs);
  const post = body && {
    method: "POST",
    body: body.bytes.slice(),
    headers: { "content-type": body.contentType },
  };
  const response = await fetch(url, { ...post, signal, redirect: "error" }).catch((error: unknown) => {
    throw new Error(failureOf(error, timeoutMs), { cause: error });
  });
  if (!response.ok) await refuse(response, url);
  const bytes = await readBody(response, bodyBytesMax).catch((error: unknown) => {
    throw new Error(failureOf(error, timeoutMs), { cause: error });
  });
  return { bytes, headers: Object.fromEntries(response.headers) };
}

async function refuse(response: Response, url: string): Promise<never> {
  await response.body?.cancel().catch(() => {});
  const { status } = response;
  if (status === 429 || status === 503) throw new BusyError(status, retryAfterMs(response));
  if (status >= 500) throw new Error(`it answered ${status}`);
  throw new CloisterError("ENDORSEMENTS_NOT_FOUND", `The vendor has nothing at ${url} (${status}).`, {
    hint: "Check that the evidence is of hardware that this service knows.",
  });
}

async function readBody(response: Response, bytesMax: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > bytesMax) throw new Error(`its answer is longer than ${bytesMax} bytes`);
    parts.push(part);
  }
  return concat(...parts);
}

function retryAfterMs(response: Response): number | undefined {
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined;
}

function failureOf(error: unknown, timeoutMs: number): string {
  if (error instanceof DOMException && error.name === "TimeoutError")
    return `it took longer than ${timeoutMs} ms`;
  const { message, cause } = error as Error;
  return cause instanceof Error ? `${message} (${cause.message})` : message;
}

/** A service that asks for patience. */
class BusyError extends Error {
  readonly retryAfterMs: number | undefined;

  constructor(status: number, retryAfterMs: number | undefined) {
    super(`it answered ${status}: too busy`);
    this.retryAfterMs = retryAfterMs;
  }
}

function sleepMs(delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, delayMs);
  });
}
