import { NoncedError } from '../../errors.ts';
import type { GrantResult, HeldLease } from '../../protocol/messages.ts';
import { DEFAULT_ACCOUNT, DEFAULT_PRIORITY, DEFAULT_WAIT_MS } from '../../terms.ts';
import type { AcquireOptions } from '../api.ts';
import { Age } from '../calls/age.ts';
import { type Bounds, Request, type WaitEnd, waitedTooLong } from '../calls/request.ts';
import { readGrant } from '../connection/answers.ts';
import type { GrantTerms } from './grant.ts';
import { type Lease, marginMs, neverBegun } from './lease.ts';
import { nextNonce } from './lease-request.ts';
import type { Session } from './session.ts';

/** A daemon that has not answered by then, this long after the wait it was told, is not going to. */
const ANSWER_GRACE_MS = 2_000;

const UNTIL_THE_LEASE_ENDS: Bounds = { giveUpAtMs: undefined, signal: undefined };

/** What an acquire comes to. */
export interface Granted extends GrantTerms {
  readonly lease: Lease;
}

/** Returns how long a caller waits for its lease, in milliseconds. */
export function patienceMs({ waitMs, priority, maxAgeMs }: AcquireOptions): number {
  return Math.min(waitMs ?? DEFAULT_WAIT_MS[priority ?? DEFAULT_PRIORITY], maxAgeMs ?? Number.POSITIVE_INFINITY);
}

/** Returns the account that a request is for if it names none, by the daemon's rule. */
export function accountOf({ account, key }: AcquireOptions): string {
  return account ?? (key === undefined ? DEFAULT_ACCOUNT : `key:${key}`);
}

/** What a request tells beside its options. */
export interface Circumstances {
  /** In place of the options' own. */
  readonly ttlMs: number | undefined;
  /** Tokens of the leases around the call that it cannot share. */
  readonly within: readonly bigint[];
}

/** Waits for a lease. */
export function acquire(session: Session, options: AcquireOptions, circumstances: Circumstances): Promise<Granted> {
  const request = new Acquire(session, options, circumstances);
  return session.ask(request, { giveUpAtMs: request.latestMs, signal: options.signal });
}

type WireOptions = { -readonly [Name in keyof AcquireOptions]: AcquireOptions[Name] } & { within?: readonly bigint[] };

/** A wait for a lease, across any number of connections. It never gives its caller a lease without time left. */
class Acquire extends Request<Granted> {
  readonly #options: AcquireOptions;
  readonly #ttlMs: number | undefined;
  readonly #within: readonly bigint[];
  readonly #session: Session;
  readonly #startedAtMs: number;
  readonly #age: Age;
  readonly #waitUntilMs: number;
  #asked = 0;
  /** Granted by an answer that got lost. A nonce is being drawn under it. */
  #adopted: Lease | undefined;

  constructor(session: Session, options: AcquireOptions, { ttlMs, within }: Circumstances) {
    super('acquire');
    this.#session = session;
    this.#options = options;
    this.#ttlMs = ttlMs;
    this.#within = within;
    this.#age = new Age(session.clock);
    this.#startedAtMs = session.clock.monotonicMs();
    this.#waitUntilMs = this.#startedAtMs + patienceMs(options);
  }

  /** When the client gives up by itself. */
  get latestMs(): number {
    const { maxAgeMs } = this.#options;
    const latestMs = this.#waitUntilMs + ANSWER_GRACE_MS;
    // Whatever comes after maxAgeMs would be refused, so there is nothing to wait for.
    return maxAgeMs === undefined ? latestMs : Math.min(latestMs, this.#startedAtMs + maxAgeMs);
  }

  override params(nowMs: number): object {
    const { account, key, unit, priority, cost, label, count } = this.#options;
    this.#asked += 1;
    // What is left of the wait, so that a reconnection does not start it again.
    const params: WireOptions = { waitMs: Math.max(0, Math.ceil(this.#waitUntilMs - nowMs)) };
    // One by one: most requests have few of them, and the codec looks at each one that is undefined twice.
    if (account !== undefined) params.account = account;
    if (key !== undefined) params.key = key;
    if (unit !== undefined) params.unit = unit;
    if (priority !== undefined) params.priority = priority;
    if (cost !== undefined) params.cost = cost;
    if (this.#ttlMs !== undefined) params.ttlMs = this.#ttlMs;
    if (label !== undefined) params.label = label;
    if (count !== undefined) params.count = count;
    if (this.#within.length > 0) params.within = this.#within;
    return params;
  }

  override accept(result: unknown): boolean {
    const granted = readGrant(result);
    if (granted === undefined) return false;
    const { token, ttlMs, nonce, count } = granted;
    const nowMs = this.#session.clock.monotonicMs();
    const endsAtMs = this.#endOf(granted, nowMs);
    if (!this.#isOfUse(ttlMs, endsAtMs, nowMs)) {
      this.#session.giveBack(token, 'unused', endsAtMs);
      if (this.#isTooOld()) this.fail(waitedTooLong());
      else this.#askAgain(nowMs);
      return true;
    }
    const account = accountOf(this.#options);
    const lease = this.#session.hold({ token, account, ttlMs, endsAtMs });
    const waitedMs = this.#asked === 1 ? granted.waitedMs : nowMs - this.#startedAtMs;
    this.succeed({ lease, nonce, count, account, waitedMs });
    return true;
  }

  /** Its grant came, and no nonce with it: draws one under it, for the lost answer's may be older than others by now. */
  override adopt({ token, account, ttlMs }: HeldLease, endsAtMs: number): boolean {
    if (!this.wanted || endsAtMs - marginMs(ttlMs) <= this.#session.clock.monotonicMs()) return false;
    const { key, unit, count } = this.#options;
    // A daemon that would not compare them is asked for another grant: it compares those of an `acquire`.
    if ((key !== undefined || unit !== undefined) && !this.#session.knows('next', { key, unit })) return false;
    const lease = this.#session.hold({ token, account, ttlMs, endsAtMs });
    this.#adopted = lease;
    this.#session.forget(this);
    // At no cost: the grant has been paid for.
    const draw = nextNonce(this.#session, lease, { account: undefined, key, unit, cost: 0, count });
    this.#session.ask(draw, UNTIL_THE_LEASE_ENDS).then(
      (nonce) => this.#drawn(lease, nonce),
      (error: Error) => this.#notDrawn(lease, error),
    );
    return true;
  }

  protected override ended(end: WaitEnd): void {
    const lease = this.#adopted;
    this.#adopted = undefined;
    if (end === 'left' && lease !== undefined) this.#session.release(lease, 'unused');
  }

  #drawn(lease: Lease, nonce: bigint): void {
    // Looked at again, for the nonce comes later: the caller may have left, or the lease be over.
    if (this.#adopted !== lease) return;
    this.#adopted = undefined;
    const nowMs = this.#session.clock.monotonicMs();
    const isTooOld = this.#isTooOld();
    if (!isTooOld && lease.hasTime()) {
      const { account } = lease;
      this.succeed({ lease, nonce, count: this.#options.count ?? 1, account, waitedMs: nowMs - this.#startedAtMs });
      return;
    }
    this.#session.release(lease, 'unused');
    if (isTooOld) this.fail(waitedTooLong());
    else this.#askAgain(nowMs);
  }

  #notDrawn(lease: Lease, error: Error): void {
    if (this.#adopted !== lease) return;
    this.#adopted = undefined;
    this.#session.release(lease, 'unused');
    if (error instanceof NoncedError && error.code === 'LEASE_LOST') this.#askAgain(this.#session.clock.monotonicMs());
    else this.fail(error);
  }

  /**
   * Returns when a lease that was granted ends: it began when the daemon had let us wait, counted from when the request
   * went out. That is never later than it began for the daemon, however late this process reads the answer.
   */
  #endOf({ waitedMs, ttlMs }: GrantResult, nowMs: number): number {
    return Math.min((this.sentAtMs ?? nowMs) + waitedMs, nowMs) + ttlMs;
  }

  #isOfUse(ttlMs: number, endsAtMs: number, nowMs: number): boolean {
    return this.wanted && endsAtMs - marginMs(ttlMs) > nowMs && !this.#isTooOld();
  }

  #isTooOld(): boolean {
    const { maxAgeMs } = this.#options;
    return maxAgeMs !== undefined && this.#age.isOver(maxAgeMs);
  }

  #askAgain(nowMs: number): void {
    if (!this.wanted) return;
    if (nowMs < this.#waitUntilMs) this.#session.send(this);
    else
      this.fail(
        neverBegun('the grant was read when its lease had run out; ask again, and look what stalls this process'),
      );
  }
}
