import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** How a vendor's service may misbehave. Each misbehavior is for one request; then the next one's turn comes. */
export type Misbehavior =
  | "slow"
  | "truncated"
  | "busy"
  | "broken"
  | "wrong-content"
  | "endless"
  | "redirect"
  | "reset";

export interface RecordedAnswer {
  readonly body: Uint8Array | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A server on loopback that replays recorded answers by path and query, and misbehaves on demand. */
export interface VendorServer {
  readonly url: string;
  /** Misbehaviors of the coming requests to any path. */
  readonly misbehaviors: Misbehavior[];
  /** Paths asked for so far, in order. */
  readonly asked: string[];
  close(): Promise<void>;
}

/** Starts the server. `answers` is asked anew for each request. */
export async function startVendorServer(
  answers: () => Readonly<Record<string, RecordedAnswer>>,
): Promise<VendorServer> {
  const misbehaviors: Misbehavior[] = [];
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    const answer = answers()[request.url ?? ""];
    if (answer === undefined) return void response.writeHead(404).end("not found");
    misbehave(misbehaviors.shift(), request, response, answer);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    misbehaviors,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function misbehave(
  how: Misbehavior | undefined,
  request: IncomingMessage,
  response: ServerResponse,
  { body, headers }: RecordedAnswer,
): void {
  const bytes = Buffer.from(body);
  switch (how) {
    case undefined:
      return void response.writeHead(200, headers).end(bytes);
    case "slow":
      response.writeHead(200, headers).write(bytes.subarray(0, 1));
      return;
    case "truncated":
      response.writeHead(200, { ...headers, "content-length": String(bytes.length) });
      response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
      return;
    case "busy":
      return void response.writeHead(429, { "retry-after": "7" }).end();
    case "broken":
      return void response.writeHead(500).end("<h1>Internal Server Error</h1>");
    case "wrong-content":
      return void response
        .writeHead(200, { "content-type": "text/html" })
        .end("<h1>Sign in to the guest network</h1>");
    case "endless":
      response.writeHead(200);
      return flood(response);
    case "redirect":
      return void response.writeHead(302, { location: "http://127.0.0.1:1/elsewhere" }).end();
    case "reset":
      return void request.socket.resetAndDestroy();
  }
}

/** Sends until the other side hangs up. */
function flood(response: ServerResponse): void {
  const chunk = Buffer.alloc(65_536, 32);
  const send = (): void => {
    while (!response.destroyed && response.write(chunk));
    if (!response.destroyed) response.once("drain", send);
  };
  send();
}
