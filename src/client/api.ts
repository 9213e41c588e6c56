import type { StatusResult } from '../protocol/messages.ts';
import type { ExclusionPolicy, Outcome, Priority, Unit } from '../terms.ts';

export interface ConnectOptions {
  /** How this bot is called in `nonced status`: at most 64 bytes. Left out: the file name of its program. */
  readonly name?: string | undefined;
  /** Path of the daemon's socket, at most 107 bytes. Left out: `$NONCED_SOCKET`, `/run/nonced`, then the user's own. */
  readonly socket?: string | undefined;
  /** How long to go on without a daemon, now and after each later loss of it, before what waits is rejected. Default 5,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** Ends the wait for the first connection; of no effect afterwards. */
  readonly signal?: AbortSignal | undefined;
}

export interface AcquireOptions {
  /** Label of the API key. Left out, it is `key:KEY` where a `key` is given, else `default`. */
  readonly account?: string | undefined;
  /** Fingerprint of the *public* API key: the first 16 hex digits of its SHA-256. Never the key itself. */
  readonly key?: string | undefined;
  /** The unit the caller signs with; the daemon refuses with UNIT_MISMATCH when the sequence has another. */
  readonly unit?: Unit | undefined;
  /** Default `normal`. */
  readonly priority?: Priority | undefined;
  /** What the call adds to the account's rate counter. Default 1. */
  readonly cost?: number | undefined;
  /** How long the lease lasts. Default 30,000 `urgent`, 20,000 `normal`, 10,000 `background`; at most 600,000. */
  readonly ttlMs?: number | undefined;
  /** How long to wait for the grant. Default 15,000 `urgent`, else 30,000; 0 tries once; at most 600,000. */
  readonly waitMs?: number | undefined;
  /** What the call is, for `nonced why`: at most 64 bytes, no secrets. */
  readonly label?: string | undefined;
  /** How many consecutive nonces to grant, 1 to 1,000. Default 1. */
  readonly count?: number | undefined;
  /** Ends the wait; it does not end a grant. */
  readonly signal?: AbortSignal | undefined;
  /** A grant that comes later than this after the call is given back and rejected with WAIT_TIMEOUT: a price of two seconds ago. */
  readonly maxAgeMs?: number | undefined;
}

/** How the function given to `exclusive` ended. */
export type CallEnd = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: unknown };

export interface ExclusiveOptions extends AcquireOptions {
  /** Renew the lease while the function runs, until it has been held this long. Left out: it is never renewed by itself. */
  readonly maxHoldMs?: number | undefined;
  /**
   * Tells the daemon how the call ended. Left out, or where it answers undefined: `ok` for a result and `unknown` for a
   * throw, unless their words are unmistakably an exchange's, such as Kraken's `EAPI:Invalid nonce`. Where it throws or answers anything but an outcome: `unknown`.
   */
  readonly outcome?: ((end: CallEnd) => Outcome | undefined) | undefined;
}

export interface NonceOptions {
  readonly account?: string | undefined;
  /** How many consecutive nonces to draw, 1 to 1,000. Default 1. */
  readonly count?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How long to wait for the daemon's answer. Default 30,000. */
  readonly waitMs?: number | undefined;
}

export interface NextOptions {
  /** Another account of the same lane. Left out: the grant's own. */
  readonly account?: string | undefined;
  /** What the call adds to the account's rate counter. Default 1. */
  readonly cost?: number | undefined;
  /** Default 1. */
  readonly count?: number | undefined;
  /** How the call with this grant's nonce before ended. */
  readonly outcome?: Outcome | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ReleaseOptions {
  /** The call's nonce came from a clock and not from the grant: lifts the sequence to now. */
  readonly usedOwnClock?: boolean | undefined;
}

/** The right to make one call, and the nonce to make it with. */
export interface Grant extends AsyncDisposable {
  /** The first of `count` consecutive ones. */
  readonly nonce: bigint;
  readonly count: number;
  readonly account: string;
  /** The lease's fencing token. */
  readonly token: bigint;
  /** How long the lease was granted for. */
  readonly ttlMs: number;
  /** How long the grant was waited for. */
  readonly waitedMs: number;
  /**
   * Aborts with a NoncedError LEASE_LOST shortly before the lease ends (a tenth of its TTL, at most a second) or as soon
   * as it is lost. Give it to the HTTP call. A release does not abort it. Its `aborted`, `reason` and `throwIfAborted`
   * look at the clock, so after a stall of the process nothing is sent with it once the lease is over.
   */
  readonly signal: AbortSignal;
  /** Milliseconds until the lease ends, by a clock that never steps; 0 once it is over. */
  expiresInMs(): number;
  /**
   * Draws a further nonce under the same lease: a retry takes a new one. Waits while the account is paced, if the lease
   * lasts that long. Rejects with PACED, NESTED_LANE, LEASE_LOST, CANCELLED or UNAVAILABLE.
   */
  next(options?: NextOptions): Promise<bigint>;
  /**
   * Makes the lease last `ttlMs` from now (left out: what it was granted for) and answers that time. Rejects with
   * LEASE_LOST, once `signal` has aborted too, and with UNAVAILABLE.
   */
  renew(ttlMs?: number): Promise<number>;
  /**
   * Ends the lease. True if this call ended it; false if it was over already, or if that cannot be told because the daemon
   * went away. Never rejects but for BAD_REQUEST, which ends nothing. Disposing a grant releases it as `unknown` without
   * waiting.
   */
  release(outcome?: Outcome, options?: ReleaseOptions): Promise<boolean>;
}

/** What the daemon told about itself when it was last connected to. */
export interface DaemonInfo {
  readonly version: string;
  /** Tells one authority from another; the client stays with the first. */
  readonly instance: string;
  /** How many times the daemon's state has been opened. */
  readonly epoch: number;
  /** The exclusion policy when last heard of; an operator may have changed it since. */
  readonly exclusive: ExclusionPolicy;
}

export type Status = StatusResult;

/**
 * A connection to the daemon that mends itself. An idle one does not keep the process alive. An option that is unknown
 * or of the wrong type is refused with BAD_REQUEST, also by a grant; one that is undefined counts as left out.
 */
export interface Nonced extends AsyncDisposable {
  /** Path of the daemon's socket. */
  readonly socket: string;
  readonly daemon: DaemonInfo;
  /**
   * Waits for the account's lane, calls `fn` with a grant, and releases it. Settles as `fn` does, or rejects with
   * LEASE_LOST when the lease ends first, whether or not `fn` ever settles: what `fn` had sent by then may have arrived.
   *
   * Inside another `exclusive` of this client (same async context) it shares the lease it finds, one such call at a
   * time, each with a fresh nonce; an account of another lane is refused with NESTED_LANE. `ttlMs`, `maxHoldMs`,
   * `outcome`, `key`, `unit` and `label` say nothing then. Await such calls: one that outlives the lease rejects with LEASE_LOST.
   *
   * Rejects with what `acquire` rejects with, then `fn` has not been called and `sent` is false. A NoncedError that `fn`
   * lets through is rejected with `sent: 'unknown'`: what it did before may have arrived.
   */
  exclusive<T>(fn: (grant: Grant) => Promise<T> | T): Promise<T>;
  exclusive<T>(options: ExclusiveOptions, fn: (grant: Grant) => Promise<T> | T): Promise<T>;
  /**
   * Waits for the account's lane; the caller must release the grant, and is on its own inside `exclusive`. Rejects with
   * a NoncedError: WAIT_TIMEOUT, CANCELLED (its `cause` is the signal's reason), UNAVAILABLE, or the daemon's refusal.
   */
  acquire(options?: AcquireOptions): Promise<Grant>;
  /** Draws `count` nonces and answers the first, without any exclusivity: for callers who order their calls themselves. */
  nonce(options?: NonceOptions): Promise<bigint>;
  /** Who holds what and who waits. Rejects with UNAVAILABLE or WAIT_TIMEOUT. `JSON.stringify` writes its nonces as strings. */
  status(): Promise<Status>;
  /** Releases what is held and rejects what waits with CANCELLED. May be called again; resolves once all is handed to the kernel. */
  close(): Promise<void>;
}
