/** The lines of a daemon's log at the level `debug`. A bot's label cannot appear where this looks. */
const LINE = /^debug: (granted|drew) (\d+)(?: and the (\d+) after it)? /;

/** Every nonce that the daemon has handed out, from the log. The daemon writes the line before it sends the nonce. */
export class HandedOut {
  /** How many leases were granted. Bare nonces are not counted. */
  readonly grants: number;
  readonly #single = new Set<bigint>();
  readonly #spans: { readonly first: bigint; readonly last: bigint }[] = [];

  /** Reads the log as far as it is written. A line that is cut short is left out. */
  constructor(log: string) {
    let grants = 0;
    for (const line of log.split('\n').slice(0, -1)) {
      const [, how, digits, after] = LINE.exec(line) ?? [];
      if (digits === undefined) continue;
      if (how === 'granted') grants += 1;
      const first = BigInt(digits);
      if (after === undefined) this.#single.add(first);
      else this.#spans.push({ first, last: first + BigInt(after) });
    }
    this.grants = grants;
  }

  has(nonce: bigint): boolean {
    return this.#single.has(nonce) || this.#spans.some(({ first, last }) => first <= nonce && nonce <= last);
  }
}
