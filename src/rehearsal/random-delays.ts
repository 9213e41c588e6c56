/** Returns random delays within the bounds, by the generator mulberry32: the same seed gives the same delays. */
export function randomDelays([minMs, maxMs]: readonly [number, number], seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return minMs + (((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * (maxMs - minMs);
  };
}
