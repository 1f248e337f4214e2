/** A small generator (sfc32) whose whole state is four words, so that a run repeats from its seed. */
export interface Random {
  readonly words: Uint32Array;
}

/** Starts a generator from 32 bits of entropy. */
export function seedRandom(seed: number): Random {
  const random = { words: Uint32Array.of(seed, seed ^ 0x9e3779b9, 0x243f6a88, 1) };
  for (let i = 0; i < 12; i++) nextWord(random);
  return random;
}

/** The next 32 bits. */
export function nextWord(random: Random): number {
  const w = random.words;
  const a = w[0] as number;
  const b = w[1] as number;
  const c = w[2] as number;
  const d = w[3] as number;
  const t = (a + b + d) | 0;
  w[3] = d + 1;
  w[0] = b ^ (b >>> 9);
  w[1] = c + (c << 3);
  w[2] = ((c << 21) | (c >>> 11)) + t;
  return t >>> 0;
}

/** A number in [0, 1). */
export function nextFraction(random: Random): number {
  return nextWord(random) / 4294967296;
}

/** An integer in [0, below). */
export function nextBelow(random: Random, below: number): number {
  return Math.floor(nextFraction(random) * below);
}

/** Mixes a text and a number into 32 bits: the order of members on a ring and in a committee. */
export function hashText(text: string, salt: number): number {
  let hash = (0x811c9dc5 ^ salt) >>> 0;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
