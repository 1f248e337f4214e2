import type { NodeId } from "@cloister/core";
import type { Channel, Peer, Transport } from "./ports.ts";

/** One channel to each of several endpoints, dialed when it is wanted and there is none. */
export class Lines {
  readonly #transport: Transport;
  readonly #met: (peer: Peer) => void;
  readonly #dials = new Map<string, Promise<Channel>>();
  readonly #channels = new Map<NodeId, Channel>();

  constructor(transport: Transport, met: (peer: Peer) => void = () => undefined) {
    this.#transport = transport;
    this.#met = met;
  }

  /** @throws {CloisterError} as `Transport.connect` */
  to(endpoint: string): Promise<Channel> {
    const known = this.#dials.get(endpoint);
    if (known !== undefined) return known;
    const dial = this.#dial(endpoint);
    this.#dials.set(endpoint, dial);
    const forget = (): void => void this.#dials.delete(endpoint);
    dial.then((channel) => channel.closed.then(forget), forget);
    return dial;
  }

  /** The open channel to a peer whose endpoint was dialed. */
  get(id: NodeId): Channel | undefined {
    return this.#channels.get(id);
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close();
  }

  async #dial(endpoint: string): Promise<Channel> {
    const channel = await this.#transport.connect(endpoint);
    const { id } = channel.peer;
    this.#met(channel.peer);
    this.#channels.set(id, channel);
    void channel.closed.then(() => {
      if (this.#channels.get(id) === channel) this.#channels.delete(id);
    });
    return channel;
  }
}
