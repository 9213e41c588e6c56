import type { Outcome } from '../../terms.ts';
import type { Grant, NextOptions, ReleaseOptions } from '../api.ts';
import { checkArgument, checkOptions } from '../calls/options.ts';
import type { Lease } from './lease.ts';
import { nextNonce, renew } from './lease-request.ts';
import type { Scope } from './scope.ts';
import type { Session } from './session.ts';

export interface GrantTerms {
  readonly nonce: bigint;
  readonly count: number;
  readonly account: string;
  readonly waitedMs: number;
}

/** A grant with a lease of its own. */
export class LeaseGrant implements Grant {
  readonly nonce: bigint;
  readonly count: number;
  readonly account: string;
  readonly waitedMs: number;
  protected readonly lease: Lease;
  readonly #session: Session;
  /** The first nonce of the latest call; undefined once its outcome has been reported. */
  #latest: bigint | undefined;

  constructor(session: Session, lease: Lease, terms: GrantTerms) {
    this.nonce = terms.nonce;
    this.count = terms.count;
    this.account = terms.account;
    this.waitedMs = terms.waitedMs;
    this.lease = lease;
    this.#session = session;
    this.#latest = terms.nonce;
  }

  get token(): bigint {
    return this.lease.token;
  }

  get ttlMs(): number {
    return this.lease.ttlMs;
  }

  get signal(): AbortSignal {
    return this.lease.signal;
  }

  expiresInMs(): number {
    return this.lease.expiresInMs();
  }

  async next(options: NextOptions = {}): Promise<bigint> {
    checkOptions('next', options);
    const { account = this.drawsFor, cost, count, signal, outcome } = options;
    if (outcome !== undefined) this.reportLatest(outcome);
    const request = nextNonce(this.#session, this.lease, { account, cost, count });
    const nonce = await this.#session.ask(request, { giveUpAtMs: undefined, signal });
    this.#latest = nonce;
    return nonce;
  }

  async renew(ttlMs?: number): Promise<number> {
    checkArgument('ttlMs', ttlMs);
    return renew(this.#session, this.lease, ttlMs);
  }

  async release(outcome: Outcome = 'unknown', options: ReleaseOptions = {}): Promise<boolean> {
    // Before the lease is let go of here: the daemon would refuse, and the lane would stay taken until it ends.
    checkArgument('outcome', outcome);
    checkOptions('release', options);
    return this.#session.end(this.lease, outcome, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#session.release(this.lease, 'unknown');
  }

  /** Tells how the latest call ended, once, while the lease lasts. */
  protected reportLatest(outcome: Outcome): void {
    if (this.#latest !== undefined) this.#session.report(this.lease, this.#latest, outcome);
    this.#latest = undefined;
  }

  /** The account of a further nonce that names none. Undefined: the lease's own. */
  protected get drawsFor(): string | undefined {
    return undefined;
  }
}

/** A grant within another: it has its own nonce and end, and shares the lease. */
export class NestedGrant extends LeaseGrant {
  readonly #scope: Scope;

  constructor(session: Session, lease: Lease, terms: GrantTerms, scope: Scope) {
    super(session, lease, terms);
    this.#scope = scope;
  }

  override get signal(): AbortSignal {
    return this.#scope.signal;
  }

  /** Tells how the call ended. The lease is the outer call's, and so is its release. */
  override async release(outcome: Outcome = 'unknown', options: ReleaseOptions = {}): Promise<boolean> {
    checkArgument('outcome', outcome);
    checkOptions('release', options);
    this.reportLatest(outcome);
    return false;
  }

  /** Tells how the call ended, unless its function has. */
  end(outcome: Outcome): void {
    this.reportLatest(outcome);
  }

  override async [Symbol.asyncDispose](): Promise<void> {}

  protected override get drawsFor(): string {
    return this.account;
  }
}
