import type { Host } from './host.ts';

export class RejectedNonce extends Error {}
export class NoAnswer extends Error {}

/**
 * The exchange: for each key the highest nonce that it has accepted. A call that is on its way arrives even if its bot
 * is gone.
 */
export class Exchange {
  readonly #host: Host;
  readonly #last = new Map<string, bigint>();
  /** Keys that a foreign program has used too. */
  readonly #foreign = new Set<string>();
  #downUntilMs = 0;
  readonly #cutOffUntilMs = new Map<number, number>();

  constructor(host: Host) {
    this.#host = host;
  }

  /** Uses the key as a foreign program would, with a nonce of its own. */
  foreignUse(account: string): void {
    this.#foreign.add(account);
    this.#last.set(account, (BigInt(this.#host.clock.wallMs()) + 30_000n) * 1_000_000n);
  }

  goDown(ms: number): void {
    this.#downUntilMs = this.#host.world.nowMs + ms;
  }

  /** From now on no call of this bot leaves its process: it has a wrong proxy, or no DNS. */
  cutOff(bot: number, ms: number): void {
    this.#cutOffUntilMs.set(bot, this.#host.world.nowMs + ms);
  }

  isCutOff(bot: number): boolean {
    return this.#host.world.nowMs < (this.#cutOffUntilMs.get(bot) ?? 0);
  }

  /** Takes in a call that arrives. Throws what the exchange answers, unless it accepts. */
  judge(account: string, token: bigint, nonce: bigint): void {
    const { world, checker, history } = this.#host;
    if (world.nowMs < this.#downUntilMs) throw new NoAnswer('no answer');
    checker.exchangeCounts(account, token, nonce);
    const accepted = nonce > (this.#last.get(account) ?? 0n);
    history.note(`the exchange ${accepted ? 'accepts' : 'rejects'} ${nonce} of ${account}`);
    if (accepted) this.#last.set(account, nonce);
    else if (!this.#foreign.has(account)) checker.exchangeRejected(account, token, nonce);
    if (!accepted) throw new RejectedNonce('invalid nonce');
  }
}
