import { AsyncLocalStorage } from 'node:async_hooks';
import type { Clock } from '../clock.ts';
import { NoncedError, refusal } from '../errors.ts';
import type { Outcome } from '../terms.ts';
import { DEFAULT_NONCE_WAIT_MS, DEFAULT_PRIORITY, DEFAULT_TTL_MS } from '../terms.ts';
import type {
  AcquireOptions,
  CallEnd,
  DaemonInfo,
  ExclusiveOptions,
  Grant,
  NextOptions,
  Nonced,
  NonceOptions,
  ReleaseOptions,
  Status,
} from './api.ts';
import { readNonce, readStatus } from './calls/answers.ts';
import { PlainCall, waitedTooLong } from './calls/call.ts';
import { badRequest, checkOptions, isOutcome } from './calls/options.ts';
import { type Bounds, cancelled } from './calls/wait.ts';
import { Link, type LinkPorts } from './connection/link.ts';
import { AcquireCall, accountOf, closedByCaller, type Granted, patienceMs } from './leases/acquire-call.ts';
import { type GrantKeeper, type GrantTerms, LeaseGrant, NestedGrant } from './leases/grant.ts';
import { Holdings } from './leases/holdings.ts';
import { type Lease, neverBegun } from './leases/lease.ts';
import { NextCall, ReleaseCall, RenewCall } from './leases/lease-calls.ts';
import { enclosing, Hold, living, Scope } from './leases/scope.ts';

type Work<T> = (grant: Grant) => Promise<T> | T;

/** One for all clients of a process: Node copies each such storage to every promise there is. */
const scopes = new AsyncLocalStorage<Scope>();

/** What `connect()` answers. Time, randomness and the transport come in through its ports. */
export class Client implements Nonced, GrantKeeper {
  readonly #clock: Clock;
  readonly #connectTimeoutMs: number;
  readonly #link: Link;
  readonly #holdings: Holdings;

  constructor(ports: LinkPorts) {
    this.#clock = ports.clock;
    this.#connectTimeoutMs = ports.connectTimeoutMs;
    this.#link = new Link(ports);
    this.#holdings = new Holdings(ports.clock, this.#link);
  }

  /** Resolves once a daemon has answered. Rejects with UNAVAILABLE or CANCELLED, and the client is of no use then. */
  async open(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) throw cancelled(signal);
    const abort = () => signal && this.#link.close(cancelled(signal));
    signal?.addEventListener('abort', abort);
    try {
      await this.#link.open(this.#holdings);
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  get socket(): string {
    return this.#link.path;
  }

  get daemon(): DaemonInfo {
    const greeting = this.#link.greeting;
    if (greeting === undefined) throw new Error('asked before the first connection');
    const { version, instance, epoch, exclusive } = greeting;
    return { version, instance, epoch, exclusive };
  }

  exclusive<T>(fn: Work<T>): Promise<T>;
  exclusive<T>(options: ExclusiveOptions, fn: Work<T>): Promise<T>;
  async exclusive<T>(first: ExclusiveOptions | Work<T> = {}, second?: Work<T>): Promise<T> {
    if (typeof first === 'function') {
      if (second === undefined) return this.#exclusive({}, first);
      throw badRequest('exclusive was given its function first; call exclusive(options, fn)');
    }
    checkOptions('exclusive', first);
    if (typeof second !== 'function') {
      throw badRequest('exclusive was given no function; call exclusive(options, fn)');
    }
    return this.#exclusive(first, second);
  }

  async acquire(options: AcquireOptions = {}): Promise<Grant> {
    checkOptions('acquire', options);
    return this.#grant(await this.#ask(options, options.ttlMs));
  }

  async nonce(options: NonceOptions = {}): Promise<bigint> {
    checkOptions('nonce', options);
    const { account, count, signal, waitMs = DEFAULT_NONCE_WAIT_MS } = options;
    const call = new PlainCall(this.#clock, this.#link, 'nonce', { account, count }, readNonce);
    const { nonce } = await call.start({ giveUpAtMs: this.#clock.monotonicMs() + waitMs, signal });
    return nonce;
  }

  async status(): Promise<Status> {
    return this.#status({ giveUpAtMs: this.#answerDueMs(), signal: undefined });
  }

  async close(): Promise<void> {
    this.#holdings.close();
    this.#link.close(closedByCaller());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Of the grant keeper. */
  next(lease: Lease, { account, cost, count, signal }: NextOptions): Promise<bigint> {
    const call = new NextCall(this.#clock, this.#link, lease, this.#holdings, { account, cost, count });
    return call.start({ giveUpAtMs: undefined, signal });
  }

  /** Of the grant keeper. */
  renew(lease: Lease, ttlMs: number | undefined): Promise<number> {
    const call = new RenewCall(this.#clock, this.#link, lease, this.#holdings, ttlMs);
    return call.start({ giveUpAtMs: undefined, signal: undefined });
  }

  /** Of the grant keeper. */
  async release(lease: Lease, outcome: Outcome, { usedOwnClock }: ReleaseOptions): Promise<boolean> {
    if (!this.#holdings.releasedByRequest(lease, outcome)) return false;
    const call = new ReleaseCall(this.#clock, this.#link, { token: lease.token, outcome, usedOwnClock });
    return call.start({ giveUpAtMs: this.#answerDueMs(), signal: undefined });
  }

  /** Of the grant keeper. */
  drop(lease: Lease): void {
    this.#holdings.release(lease, 'unknown');
  }

  #answerDueMs(): number {
    return this.#clock.monotonicMs() + this.#connectTimeoutMs;
  }

  async #status(bounds: Bounds): Promise<Status> {
    const status = await new PlainCall(this.#clock, this.#link, 'status', {}, readStatus).start(bounds);
    this.#link.learn(status.exclusive);
    return status;
  }

  #ask(options: AcquireOptions, ttlMs: number | undefined): Promise<Granted> {
    const call = new AcquireCall(this.#clock, this.#link, this.#holdings, options, ttlMs);
    return call.start({ giveUpAtMs: call.giveUpAtMs, signal: options.signal });
  }

  #grant({ lease, nonce, count, waitedMs }: Granted): LeaseGrant {
    return new LeaseGrant(lease, this, { nonce, count, waitedMs, account: lease.account });
  }

  #exclusive<T>(options: ExclusiveOptions, fn: Work<T>): Promise<T> {
    const outer = enclosing(scopes.getStore(), this);
    return outer === undefined ? this.#alone(options, fn) : this.#within(outer, options, fn);
  }

  /** Under a lease of its own. */
  async #alone<T>(options: ExclusiveOptions, fn: Work<T>): Promise<T> {
    const { maxHoldMs, signal } = options;
    const granted = await this.#ask(options, shortestTtlMs(options));
    const { lease } = granted;
    // Looked at again: the grant was good when it was read, and this turn may come later.
    const obstacle = obstacleTo(lease, signal);
    if (obstacle !== undefined) {
      this.#holdings.release(lease, 'unused');
      throw obstacle;
    }
    if (maxHoldMs !== undefined) lease.renewUntil(this.#clock.monotonicMs() + maxHoldMs);
    const scope = new Scope(this, lease, living(scopes.getStore()));
    const grant = this.#grant(granted);
    return new Hold<T>(lease, 'own').run(
      () => scopes.run(scope, fn, grant),
      (end) => {
        scope.ended = true;
        // Also when its caller was told that the lease was about to end: the lane is ours until it has.
        this.#holdings.release(lease, outcomeOf(end, options));
      },
    );
  }

  /** Inside another exclusive: under its lease if the account's lane is the same. */
  async #within<T>(outer: Scope, options: ExclusiveOptions, fn: Work<T>): Promise<T> {
    const startedAtMs = this.#clock.monotonicMs();
    const bounds = { giveUpAtMs: startedAtMs + patienceMs(options), signal: options.signal };
    const account = accountOf(options);
    if (outer.lease.ended !== undefined) throw outer.lease.ended;
    // The policy may have been switched since we heard of it, in either direction: ask before refusing.
    if (account !== outer.lease.account && this.daemon.exclusive !== 'global') {
      const policy = (await this.#status(bounds)).exclusive;
      // Without lanes there is nothing to share, and nothing to deadlock over.
      if (policy === 'off') return this.#alone(options, fn);
      if (policy === 'account') throw nestedLane(account, outer.lease.account);
    }
    await outer.enter(this.#clock, bounds);
    try {
      const nonce = await this.#drawWithin(outer.lease, account, options, bounds);
      const nowMs = this.#clock.monotonicMs();
      if (nowMs > startedAtMs + (options.maxAgeMs ?? Number.POSITIVE_INFINITY)) throw waitedTooLong();
      const obstacle = obstacleTo(outer.lease, options.signal);
      if (obstacle !== undefined) throw obstacle;
      return await this.#nested(
        outer,
        { nonce, account, count: options.count ?? 1, waitedMs: nowMs - startedAtMs },
        fn,
      );
    } finally {
      outer.leave();
    }
  }

  #drawWithin(lease: Lease, account: string, { cost, count }: ExclusiveOptions, bounds: Bounds): Promise<bigint> {
    const params = { account: account === lease.account ? undefined : account, cost, count };
    return new NextCall(this.#clock, this.#link, lease, this.#holdings, params).start(bounds);
  }

  #nested<T>(outer: Scope, terms: GrantTerms, fn: Work<T>): Promise<T> {
    const scope = new Scope(this, outer.lease, living(scopes.getStore()));
    const hold = new Hold<T>(outer.lease, 'shared');
    const grant = new NestedGrant(outer.lease, this, terms, hold);
    return hold.run(
      () => scopes.run(scope, fn, grant),
      () => {
        scope.ended = true;
      },
    );
  }
}

/** A lease that may not be held as long as it would last by itself is asked for no longer. */
function shortestTtlMs({ ttlMs, maxHoldMs, priority }: ExclusiveOptions): number | undefined {
  if (maxHoldMs === undefined || maxHoldMs >= (ttlMs ?? DEFAULT_TTL_MS[priority ?? DEFAULT_PRIORITY])) return ttlMs;
  return Math.max(1, Math.ceil(maxHoldMs));
}

/** Why nothing can begin under the lease, if so. */
function obstacleTo(lease: Lease, signal: AbortSignal | undefined): NoncedError | undefined {
  if (signal?.aborted) return cancelled(signal);
  if (lease.hasTime()) return undefined;
  return neverBegun(
    lease.ended?.message ?? 'the lease ran out before the call could begin; look what stalls this process',
  );
}

function outcomeOf(end: CallEnd, { outcome }: ExclusiveOptions): Outcome {
  try {
    const told = outcome?.(end);
    if (told === undefined) return end.ok ? 'ok' : 'unknown';
    // The daemon would refuse a word it does not know, and the lane would stay taken for as long as the lease lasts. And
    // it is not taken for `ok`: a misspelt rejection would close the account's circuit breaker.
    return isOutcome(told) ? told : 'unknown';
  } catch {
    // The call has been made, and its result matters more than what the hook stumbled over.
    return 'unknown';
  }
}

function nestedLane(account: string, outer: string): NoncedError {
  return new NoncedError(
    refusal(
      'NESTED_LANE',
      `exclusive for ${account} inside one for ${outer}, which has another lane: two lanes taken in two orders deadlock; call it after the outer one`,
    ),
  );
}
