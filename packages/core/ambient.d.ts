/**
 * The few globals that browsers and Node share and that pure code may use: text coding and base64.
 * Neither DOM nor Node types are loaded below `adapters`, so that a clock, a socket or a disk
 * does not even compile there.
 */
declare class TextEncoder {
  encode(text: string): Uint8Array<ArrayBuffer>;
}
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(bytes: Uint8Array): string;
}
declare function btoa(binary: string): string;
declare function atob(text: string): string;
