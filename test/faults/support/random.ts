/** Numbers from 0 (included) to 1, the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The seed of this run: SLUICE_SEED, else a new one. Tests print it, so that a failure can be had again. */
export function seedOf(env: NodeJS.ProcessEnv = process.env): number {
  return env.SLUICE_SEED === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(env.SLUICE_SEED);
}
