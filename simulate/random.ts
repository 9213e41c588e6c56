/**
 * Random numbers from a seed: xoshiro128** by David Blackman and Sebastiano Vigna (https://prng.di.unimi.it). Its state
 * comes from the seed by the 32-bit finaliser of MurmurHash3 over a Weyl sequence, as in SplitMix.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** The streams of one seed are independent, so that the choices of one actor do not change another's. */
  constructor(seed: number, stream = 0) {
    let weyl = (Math.imul(seed, 0x85ebca6b) ^ Math.imul(stream + 1, 0xc2b2ae35)) | 0;
    const fill = (): number => {
      weyl = (weyl + 0x9e3779b9) | 0;
      let mixed = Math.imul(weyl ^ (weyl >>> 16), 0x85ebca6b);
      mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
      return (mixed ^ (mixed >>> 16)) >>> 0;
    };
    this.#a = fill();
    this.#b = fill();
    this.#c = fill();
    this.#d = fill() | 1;
  }

  /** Returns 32 random bits. */
  next(): number {
    const scrambled = Math.imul(rotated(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = rotated(this.#d, 11);
    return scrambled;
  }

  /** Returns a number from 0 up to, but without, 1. */
  fraction(): number {
    return this.next() / 2 ** 32;
  }

  /** Returns a whole number from 0 up to, but without, `bound`. */
  below(bound: number): number {
    return Math.floor(this.fraction() * bound);
  }

  /** Returns a whole number from `least` to `most`, both included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.below(choices.length)] ?? choices[0];
  }
}

function rotated(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}
