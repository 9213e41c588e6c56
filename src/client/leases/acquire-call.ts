import type { Clock } from '../../clock.ts';
import { NoncedError, refusal } from '../../errors.ts';
import type { HeldLease } from '../../protocol/messages.ts';
import { DEFAULT_ACCOUNT, DEFAULT_PRIORITY, DEFAULT_WAIT_MS } from '../../terms.ts';
import type { AcquireOptions } from '../api.ts';
import { readGrant } from '../calls/answers.ts';
import { Call, waitedTooLong } from '../calls/call.ts';
import type { Holdings, HoldingsLink } from './holdings.ts';
import { type Lease, marginMs, neverBegun } from './lease.ts';
import { NextCall } from './lease-calls.ts';

/** A daemon that has not answered by then, this long after the wait it was told, is not going to. */
const ANSWER_GRACE_MS = 2_000;

/** What an `acquire` comes to. */
export interface Granted {
  readonly lease: Lease;
  readonly nonce: bigint;
  readonly count: number;
  readonly waitedMs: number;
}

/** How long a caller waits for its turn, in milliseconds. */
export function patienceMs({ waitMs, priority, maxAgeMs }: AcquireOptions): number {
  return Math.min(waitMs ?? DEFAULT_WAIT_MS[priority ?? DEFAULT_PRIORITY], maxAgeMs ?? Number.POSITIVE_INFINITY);
}

/** The account a request without one is for, by the daemon's rule. */
export function accountOf({ account, key }: AcquireOptions): string {
  return account ?? (key === undefined ? DEFAULT_ACCOUNT : `key:${key}`);
}

/** A wait for a grant, across any number of connections, that never gives its caller one without time left. */
export class AcquireCall extends Call<Granted> {
  override readonly method = 'acquire';
  readonly #options: AcquireOptions;
  readonly #ttlMs: number | undefined;
  readonly #link: HoldingsLink;
  readonly #holdings: Holdings;
  readonly #startedAtMs: number;
  readonly #waitUntilMs: number;
  #asked = 0;
  /** Granted by an answer that got lost, and drawing a nonce under it. */
  #adopted: Lease | undefined;

  /** `ttlMs` in place of the options' own. */
  constructor(
    clock: Clock,
    link: HoldingsLink,
    holdings: Holdings,
    options: AcquireOptions,
    ttlMs: number | undefined,
  ) {
    super(clock, link);
    this.#link = link;
    this.#holdings = holdings;
    this.#options = options;
    this.#ttlMs = ttlMs;
    this.#startedAtMs = clock.monotonicMs();
    this.#waitUntilMs = this.#startedAtMs + patienceMs(options);
  }

  /** When the client gives up by itself. */
  get giveUpAtMs(): number {
    const { maxAgeMs } = this.#options;
    const giveUpAtMs = this.#waitUntilMs + ANSWER_GRACE_MS;
    // Whatever comes after maxAgeMs would be refused, so there is nothing to wait for.
    return maxAgeMs === undefined ? giveUpAtMs : Math.min(giveUpAtMs, this.#startedAtMs + maxAgeMs);
  }

  override params(nowMs: number): object {
    const { account, key, unit, priority, cost, label, count } = this.#options;
    this.#asked += 1;
    // What is left of the wait, so that a reconnection does not start it anew.
    const waitMs = Math.max(0, Math.ceil(this.#waitUntilMs - nowMs));
    return { account, key, unit, priority, cost, ttlMs: this.#ttlMs, waitMs, label, count };
  }

  override accept(result: unknown): boolean {
    const granted = readGrant(result);
    if (granted === undefined) return false;
    const { token, ttlMs, nonce, count } = granted;
    const nowMs = this.clock.monotonicMs();
    // The lease began when the daemon had let us wait, counted from when the request went out: never later than it did
    // for the daemon, however late this process reads the answer.
    const endsAtMs = Math.min((this.sentAtMs ?? nowMs) + granted.waitedMs, nowMs) + ttlMs;
    if (!this.#usable(token, ttlMs, endsAtMs, nowMs)) return true;
    const lease = this.#holdings.add({ token, account: accountOf(this.#options), ttlMs, endsAtMs });
    const waitedMs = this.#asked === 1 ? granted.waitedMs : nowMs - this.#startedAtMs;
    this.succeed({ lease, nonce, count, waitedMs });
    return true;
  }

  /** Its grant came, and with it no nonce: draws one under it, for the lost answer's may be older than others by now. */
  override adopt(held: HeldLease, endsAtMs: number): boolean {
    if (!this.wanted || endsAtMs - marginMs(held.ttlMs) <= this.clock.monotonicMs()) return false;
    const { token, account, ttlMs } = held;
    const lease = this.#holdings.add({ token, account, ttlMs, endsAtMs });
    this.#adopted = lease;
    this.link.forget(this);
    // At no cost: the grant has been paid for.
    const { count } = this.#options;
    const next = new NextCall(this.clock, this.link, lease, this.#holdings, { account: undefined, cost: 0, count });
    next.start({ giveUpAtMs: undefined, signal: undefined }).then(
      (nonce) => this.#drawn(lease, nonce),
      (error: Error) => this.#notDrawn(lease, error),
    );
    return true;
  }

  protected override withdrawn(): void {
    const lease = this.#adopted;
    this.#adopted = undefined;
    if (lease === undefined) this.#link.cancel(this);
    else this.#holdings.release(lease, 'unused');
  }

  #drawn(lease: Lease, nonce: bigint): void {
    // Looked at again, for the nonce comes in a later turn: the caller may have gone, or the lease.
    if (this.#adopted !== lease) return;
    this.#adopted = undefined;
    const nowMs = this.clock.monotonicMs();
    const tooOld = this.#isTooOld(nowMs);
    if (!tooOld && lease.hasTime()) {
      this.succeed({ lease, nonce, count: this.#options.count ?? 1, waitedMs: nowMs - this.#startedAtMs });
      return;
    }
    this.#holdings.release(lease, 'unused');
    if (tooOld) this.fail(waitedTooLong());
    else this.#askAgain(nowMs);
  }

  #notDrawn(lease: Lease, error: Error): void {
    if (this.#adopted !== lease) return;
    this.#adopted = undefined;
    this.#holdings.release(lease, 'unused');
    if (error instanceof NoncedError && error.code === 'LEASE_LOST') this.#askAgain(this.clock.monotonicMs());
    else this.fail(error);
  }

  /** Gives back a grant that nobody can use, and asks again if there is time. */
  #usable(token: bigint, ttlMs: number, endsAtMs: number, nowMs: number): boolean {
    const late = endsAtMs - marginMs(ttlMs) <= nowMs;
    const tooOld = this.#isTooOld(nowMs);
    if (this.wanted && !late && !tooOld) return true;
    this.#holdings.giveBack(token, 'unused', endsAtMs);
    if (tooOld) this.fail(waitedTooLong());
    else this.#askAgain(nowMs);
    return false;
  }

  #isTooOld(nowMs: number): boolean {
    const { maxAgeMs } = this.#options;
    return maxAgeMs !== undefined && nowMs > this.#startedAtMs + maxAgeMs;
  }

  #askAgain(nowMs: number): void {
    if (!this.wanted) return;
    if (nowMs < this.#waitUntilMs) this.link.ask(this);
    else
      this.fail(
        neverBegun('the grant was read when its lease had run out; ask again, and look what stalls this process'),
      );
  }
}

/** What `close` tells those who wait. */
export function closedByCaller(): NoncedError {
  return new NoncedError(refusal('CANCELLED', 'the client was closed; connect() again'));
}
