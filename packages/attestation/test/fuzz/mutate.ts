/** Seeded mutation of byte strings: the same seed gives the same cases on every machine. */
export type Random = (below: number) => number;

/** A small generator (xorshift32) for cases, not for secrets. */
export function randomFrom(seed: number): Random {
  let state = (seed | 0) === 0 ? 0x9e3779b9 : seed | 0;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % Math.max(1, below);
  };
}

const INTERESTING = [0x00, 0x01, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xff, 0x30, 0x9f, 0xbf];

const MUTATIONS: readonly ((bytes: Uint8Array, random: Random) => Uint8Array)[] = [
  (bytes, random) => changed(bytes, random, (byte) => byte ^ (1 << random(8))),
  (bytes, random) => changed(bytes, random, () => random(256)),
  (bytes, random) => changed(bytes, random, () => INTERESTING[random(INTERESTING.length)] as number),
  (bytes, random) => changed(bytes, random, (byte) => byte + (random(2) === 0 ? 1 : 255)),
  (bytes, random) => bytes.slice(0, random(bytes.length)),
  (bytes, random) => bytes.slice(random(bytes.length)),
  (bytes, random) => spliced(bytes, random(bytes.length), random(16), new Uint8Array()),
  (bytes, random) =>
    spliced(
      bytes,
      random(bytes.length),
      0,
      Uint8Array.from({ length: 1 + random(16) }, () => random(256)),
    ),
  (bytes, random) => copiedWithin(bytes, random),
  (bytes, random) => {
    const at = random(bytes.length);
    const piece = bytes.slice(at, at + 1 + random(512));
    return spliced(bytes, at, 0, piece);
  },
];

/** One to four mutations on top of each other. */
export function mutate(seed: Uint8Array, random: Random): Uint8Array {
  let bytes = seed;
  for (let count = 1 + random(4); count > 0; count--) {
    const mutation = MUTATIONS[random(MUTATIONS.length)] as (typeof MUTATIONS)[number];
    bytes = mutation(bytes, random);
  }
  return bytes;
}

/** Makes a failing case smaller while it still fails. */
export function minimize(bytes: Uint8Array, fails: (candidate: Uint8Array) => boolean): Uint8Array {
  let smallest = bytes;
  for (let chunk = Math.ceil(bytes.length / 2); chunk >= 1; chunk = Math.floor(chunk / 2)) {
    for (let at = 0; at < smallest.length;) {
      const candidate = spliced(smallest, at, chunk, new Uint8Array());
      if (fails(candidate)) smallest = candidate;
      else at += chunk;
    }
  }
  return smallest;
}

function changed(bytes: Uint8Array, random: Random, change: (byte: number) => number): Uint8Array {
  const copy = bytes.slice();
  const at = random(copy.length);
  if (copy.length > 0) copy[at] = change(copy[at] as number);
  return copy;
}

function copiedWithin(bytes: Uint8Array, random: Random): Uint8Array {
  const from = random(bytes.length);
  return bytes.slice().copyWithin(random(bytes.length), from, from + random(64));
}

function spliced(bytes: Uint8Array, at: number, removed: number, inserted: Uint8Array): Uint8Array {
  const rest = bytes.subarray(Math.min(bytes.length, at + removed));
  const whole = new Uint8Array(at + inserted.length + rest.length);
  whole.set(bytes.subarray(0, at));
  whole.set(inserted, at);
  whole.set(rest, at + inserted.length);
  return whole;
}
