import type { Clock, Timer } from '../../clock.ts';
import { NoncedError, type Refusal } from '../../errors.ts';
import type { Outcome } from '../../terms.ts';
import { readNonce, readReleased, readTtlMs } from '../calls/answers.ts';
import { Call, type CallLink } from '../calls/call.ts';
import { type Lease, leaseLost } from './lease.ts';

/** What the daemon may tell about a lease in an answer. */
export interface LeaseLoser {
  lost(lease: Lease, error: NoncedError): void;
}

export interface NextParams {
  readonly account: string | undefined;
  readonly cost: number | undefined;
  readonly count: number | undefined;
}

abstract class LeaseCall<T> extends Call<T> {
  protected readonly lease: Lease;
  readonly #loser: LeaseLoser;

  constructor(clock: Clock, link: CallLink, lease: Lease, loser: LeaseLoser) {
    super(clock, link, lease);
    this.lease = lease;
    this.#loser = loser;
  }

  override refuse(cause: Refusal): void {
    if (cause.code !== 'LEASE_LOST') {
      this.fail(new NoncedError(cause));
      return;
    }
    // The daemon knows better: what we still count as ours is not, and a call under it may be on its way.
    const error = leaseLost(cause.message);
    this.#loser.lost(this.lease, error);
    this.fail(error);
  }
}

/** A further nonce under a lease. While the account is paced it waits and asks again, if the lease lasts that long. */
export class NextCall extends LeaseCall<bigint> {
  override readonly method = 'next';
  readonly #params: object;
  #rest: Timer | undefined;

  constructor(clock: Clock, link: CallLink, lease: Lease, loser: LeaseLoser, params: NextParams) {
    super(clock, link, lease, loser);
    this.#params = { token: lease.token, account: params.account, cost: params.cost, count: params.count };
  }

  override params(): object {
    return this.#params;
  }

  override accept(result: unknown): boolean {
    const drawn = readNonce(result);
    if (drawn === undefined) return false;
    // Looked at again: the answer may have been read late, before the timer that would have told so.
    if (this.lease.hasTime()) this.succeed(drawn.nonce);
    else this.fail(this.lease.ended ?? leaseLost('the lease ended before its nonce was read; ask for a longer ttlMs'));
    return true;
  }

  override refuse(cause: Refusal): void {
    const { code, retryAfterMs } = cause;
    if (code === 'PACED' && retryAfterMs !== undefined && this.wanted && this.lease.hasTime(retryAfterMs)) {
      this.#rest = this.clock.after(retryAfterMs, () => this.link.ask(this));
      return;
    }
    super.refuse(cause);
  }

  protected override withdrawn(): void {
    this.#rest?.cancel();
    super.withdrawn();
  }
}

/** Makes a lease last from when it is asked. */
export class RenewCall extends LeaseCall<number> {
  override readonly method = 'renew';
  readonly #ttlMs: number | undefined;

  /** `ttlMs` left out: as long as it was last granted or renewed for. */
  constructor(clock: Clock, link: CallLink, lease: Lease, loser: LeaseLoser, ttlMs: number | undefined) {
    super(clock, link, lease, loser);
    this.#ttlMs = ttlMs;
  }

  override params(nowMs: number): object {
    // Only for what the daemon will accept: a refused renewal changes nothing.
    if (Number.isInteger(this.#ttlMs) && Number(this.#ttlMs) > 0) this.lease.mayEndAt(nowMs + Number(this.#ttlMs));
    return { token: this.lease.token, ttlMs: this.#ttlMs };
  }

  override accept(result: unknown): boolean {
    const ttlMs = readTtlMs(result);
    if (ttlMs === undefined) return false;
    // From when it was sent, for the daemon cannot have processed it earlier.
    this.lease.extend((this.sentAtMs ?? 0) + ttlMs, ttlMs);
    this.succeed(ttlMs);
    return true;
  }
}

/** Ends a lease, and waits to hear that it did. */
export class ReleaseCall extends Call<boolean> {
  override readonly method = 'release';
  readonly token: bigint;
  readonly #params: object;

  constructor(
    clock: Clock,
    link: CallLink,
    params: { readonly token: bigint; readonly outcome: Outcome; readonly usedOwnClock: boolean | undefined },
  ) {
    super(clock, link);
    this.token = params.token;
    this.#params = params;
  }

  override params(): object {
    return this.#params;
  }

  override accept(result: unknown): boolean {
    const released = readReleased(result);
    if (released !== undefined) this.succeed(released);
    return released !== undefined;
  }

  /** Whatever went wrong, the lease is not ours any more: only a mistake of the caller's is worth an exception. */
  override fail(error: Error): void {
    if (error instanceof NoncedError && error.code === 'BAD_REQUEST') super.fail(error);
    else this.succeed(false);
  }
}
