/** What a daemon's log tells, line by line, at its level `debug`. A label of a bot cannot stand where these look. */
const LINE = /^debug: (granted|drew) (\d+)(?: and the (\d+) after it)? /;

/** Every nonce that the daemon has handed out, by the log that it wrote before it did. */
export class HandedOut {
  /** Turns, each with its first nonce; not the bare nonces. */
  readonly turns: number;
  readonly #single = new Set<bigint>();
  readonly #spans: { readonly first: bigint; readonly last: bigint }[] = [];

  /** Of the log as far as it is written; a line that is cut short is left out. */
  constructor(log: string) {
    let turns = 0;
    for (const line of log.split('\n').slice(0, -1)) {
      const [, how, digits, after] = LINE.exec(line) ?? [];
      if (digits === undefined) continue;
      if (how === 'granted') turns += 1;
      const first = BigInt(digits);
      if (after === undefined) this.#single.add(first);
      else this.#spans.push({ first, last: first + BigInt(after) });
    }
    this.turns = turns;
  }

  has(nonce: bigint): boolean {
    return this.#single.has(nonce) || this.#spans.some(({ first, last }) => first <= nonce && nonce <= last);
  }
}
