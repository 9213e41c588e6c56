import { NoncedError, refusal } from '../errors.ts';
import type { ExclusionPolicy, Outcome } from '../terms.ts';
import { DEFAULT_NONCE_WAIT_MS, DEFAULT_PRIORITY, DEFAULT_TTL_MS } from '../terms.ts';
import type {
  AcquireOptions,
  CallEnd,
  DaemonInfo,
  ExclusiveOptions,
  Grant,
  Nonced,
  NonceOptions,
  Status,
} from './api.ts';
import { Age } from './calls/age.ts';
import { badRequest, checkOptions, isOutcome } from './calls/options.ts';
import { type Bounds, cancelled, PlainRequest, waitedTooLong } from './calls/request.ts';
import { readNonce, readPolicy, readStatus } from './connection/answers.ts';
import { outcomeOfThrown } from './exchanges/answers.ts';
import { outcomeOfValue } from './exchanges/kraken-outcome.ts';
import { accountOf, acquire, patienceMs } from './leases/acquire.ts';
import { LeaseGrant, NestedGrant } from './leases/grant.ts';
import { type Lease, neverBegun } from './leases/lease.ts';
import { keepRenewed, nextNonce } from './leases/lease-request.ts';
import { currentScope, enclosing, living, OUTER_ENDED, Scope, tokensOfOthers } from './leases/scope.ts';
import { Session, type SessionPorts } from './leases/session.ts';

type Work<T> = (grant: Grant) => Promise<T> | T;

/** What `connect()` returns. Time, randomness and the transport come in through its ports. */
export class Client implements Nonced {
  readonly #session: Session;

  constructor(ports: SessionPorts) {
    this.#session = new Session(ports);
  }

  /** Resolves once a daemon has answered. Rejects with UNAVAILABLE or CANCELLED, and the client is of no use then. */
  async open(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) throw cancelled(signal);
    const abort = () => signal && this.#session.close(cancelled(signal));
    signal?.addEventListener('abort', abort);
    try {
      await this.#session.open();
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  get socket(): string {
    return this.#session.path;
  }

  get daemon(): DaemonInfo {
    const { greeting } = this.#session;
    if (greeting === undefined) throw new Error('asked before the first connection');
    const { version, instance, epoch, exclusive } = greeting;
    return { version, instance, epoch, exclusive };
  }

  exclusive<T>(fn: Work<T>): Promise<T>;
  exclusive<T>(options: ExclusiveOptions, fn: Work<T>): Promise<T>;
  exclusive<T>(first: ExclusiveOptions | Work<T> = {}, second?: Work<T>): Promise<T> {
    const options = typeof first === 'function' ? {} : first;
    const fn = typeof first === 'function' ? first : second;
    try {
      if (typeof first === 'function' && second !== undefined) {
        throw badRequest('exclusive was given its function first; call exclusive(options, fn)');
      }
      checkOptions('exclusive', options);
      if (typeof fn !== 'function') {
        throw badRequest('exclusive was given no function; call exclusive(options, fn)');
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#begin(options, fn);
  }

  async acquire(options: AcquireOptions = {}): Promise<Grant> {
    checkOptions('acquire', options);
    const granted = await acquire(this.#session, options, {
      ttlMs: options.ttlMs,
      within: tokensOfOthers(currentScope(), this),
    });
    return new LeaseGrant(this.#session, granted.lease, granted);
  }

  async nonce(options: NonceOptions = {}): Promise<bigint> {
    checkOptions('nonce', options);
    const { account, count, signal, waitMs = DEFAULT_NONCE_WAIT_MS } = options;
    const request = new PlainRequest('nonce', { account, count }, readNonce);
    const giveUpAtMs = this.#session.clock.monotonicMs() + waitMs;
    const { nonce } = await this.#session.ask(request, { giveUpAtMs, signal });
    return nonce;
  }

  async status(): Promise<Status> {
    const bounds = { giveUpAtMs: this.#session.answerDueMs, signal: undefined };
    const status = await this.#session.ask(new PlainRequest('status', {}, readStatus), bounds);
    this.#session.learn(status.exclusive);
    return status;
  }

  async close(): Promise<void> {
    this.#session.close(new NoncedError(refusal('CANCELLED', 'the client was closed; connect() again')));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #policy(bounds: Bounds): Promise<ExclusionPolicy> {
    const ask = (method: 'policy' | 'status') => this.#session.ask(new PlainRequest(method, {}, readPolicy), bounds);
    const policy = await ask('policy').catch((error: unknown) => {
      // An older daemon tells it in its status only, which may be a hundred times as long.
      if (error instanceof NoncedError && error.code === 'UNSUPPORTED') return ask('status');
      throw error;
    });
    this.#session.learn(policy);
    return policy;
  }

  #begin<T>(options: ExclusiveOptions, fn: Work<T>): Promise<T> {
    const outer = enclosing(currentScope(), this);
    return outer === undefined ? this.#alone(options, fn) : this.#within(outer, options, fn);
  }

  /** Under a lease of its own: ask, run, release. */
  #alone<T>(options: ExclusiveOptions, fn: Work<T>): Promise<T> {
    const session = this.#session;
    // `then` and not `await`: with an AsyncLocalStorage in use every promise costs, and this makes two of them fewer.
    const within = tokensOfOthers(currentScope(), this);
    return acquire(session, options, { ttlMs: shortestTtlMs(options), within }).then((granted) => {
      const { maxHoldMs, signal } = options;
      const { lease } = granted;
      // Looked at again: the grant was good when it was read, and this comes later.
      const obstacle = obstacleTo(lease, signal);
      if (obstacle !== undefined) {
        session.release(lease, 'unused');
        throw obstacle;
      }
      if (maxHoldMs !== undefined) keepRenewed(session, lease, session.clock.monotonicMs() + maxHoldMs);
      const scope = new Scope(this, lease, living(currentScope()), 'own lease');
      return scope.run(fn, new LeaseGrant(session, lease, granted), (end) => {
        // Also when its caller was told that the lease was about to end: the lane is ours until it has.
        session.release(lease, outcomeOf(end, options));
      });
    });
  }

  /** Inside another exclusive: under its lease if the account's lane is the same. */
  async #within<T>(outer: Scope, options: ExclusiveOptions, fn: Work<T>): Promise<T> {
    const session = this.#session;
    const age = new Age(session.clock);
    const startedAtMs = session.clock.monotonicMs();
    const bounds = { giveUpAtMs: startedAtMs + patienceMs(options), signal: options.signal };
    const { lease } = outer;
    const account = accountOf(options);
    const { key, unit, cost, count, maxAgeMs = Number.POSITIVE_INFINITY } = options;
    if (lease.ended !== undefined) throw lease.ended;
    // The policy may have been switched since we heard of it, in either direction: ask before refusing.
    if (account !== lease.account && this.daemon.exclusive !== 'global') {
      const policy = await this.#policy(bounds);
      // Without lanes there is nothing to share, and nothing to deadlock over.
      if (policy === 'off') return this.#alone(options, fn);
      if (policy === 'account') throw nestedLane(account, lease.account);
    }
    const draw = nextNonce(session, lease, {
      account: account === lease.account ? undefined : account,
      key,
      unit,
      cost,
      count,
    });
    const leave = () => {
      const next = outer.leave(draw);
      if (next !== undefined) session.send(next);
    };
    let nonce: bigint;
    try {
      const drawn = session.begin(draw, bounds);
      // Looked at again: the function around this call may have settled while the policy was asked for.
      if (outer.ended) draw.leave(OUTER_ENDED);
      else if (outer.enter(draw)) session.send(draw);
      nonce = await drawn;
    } catch (error) {
      leave();
      if (error !== OUTER_ENDED) throw error;
      return this.#begin(sooner(options, age.ms), fn);
    }
    const nowMs = session.clock.monotonicMs();
    const scope = new Scope(this, lease, living(currentScope()), 'shared lease');
    const terms = { nonce, account, count: count ?? 1, waitedMs: nowMs - startedAtMs };
    const grant = new NestedGrant(session, lease, terms, scope);
    const obstacle = age.isOver(maxAgeMs) ? waitedTooLong() : obstacleTo(lease, options.signal);
    if (obstacle !== undefined) {
      grant.end('unused');
      leave();
      throw obstacle;
    }
    return scope.run(fn, grant, (end) => {
      grant.end(outcomeOf(end, options));
      leave();
    });
  }
}

/** Returns the options of a call that has waited for `waitedMs` already. */
function sooner(options: ExclusiveOptions, waitedMs: number): ExclusiveOptions {
  const { maxAgeMs } = options;
  const waitMs = Math.max(0, patienceMs(options) - waitedMs);
  return { ...options, waitMs, ...(maxAgeMs !== undefined && { maxAgeMs: Math.max(0, maxAgeMs - waitedMs) }) };
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
    // Words that only one exchange has count without a hook: a bot that returns or throws what Kraken said is not blind.
    if (told === undefined) return end.ok ? outcomeOfValue(end.value) : outcomeOfError(end.error);
    // The daemon would refuse a word it does not know, and the lane would stay taken for as long as the lease lasts. And
    // it is not taken for `ok`: a misspelt rejection would close the account's circuit breaker.
    return isOutcome(told) ? told : 'unknown';
  } catch {
    // The call has been made, and its result matters more than what the hook stumbled over.
    return 'unknown';
  }
}

function outcomeOfError(error: unknown): Outcome {
  // Ours speak of nonces too.
  return error instanceof NoncedError ? 'unknown' : outcomeOfThrown(error);
}

function nestedLane(account: string, outer: string): NoncedError {
  return new NoncedError(
    refusal(
      'NESTED_LANE',
      `exclusive for ${account} inside one for ${outer}, which has another lane: two lanes taken in two orders deadlock; call it after the outer one`,
    ),
  );
}
