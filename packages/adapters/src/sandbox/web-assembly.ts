/** The WebAssembly JavaScript API, as far as it is used here: its types come with the DOM library only. */
export interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: Record<string, Record<string, unknown>>) => Engine;
  readonly Memory: new (size: { initial: number; maximum: number; shared?: boolean }) => {
    readonly buffer: ArrayBuffer | SharedArrayBuffer;
  };
  readonly LinkError: new () => Error;
  readonly RuntimeError: new () => Error;
}

/** An instance that passed the loader's inspection: it exports these two. */
export interface Engine {
  readonly exports: { readonly memory: { readonly buffer: ArrayBuffer }; readonly _start: () => unknown };
}

export const webAssembly = (globalThis as unknown as { readonly WebAssembly: WebAssemblyApi }).WebAssembly;
