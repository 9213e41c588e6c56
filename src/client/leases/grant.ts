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

  constructor(session: Session, lease: Lease, terms: GrantTerms) {
    this.nonce = terms.nonce;
    this.count = terms.count;
    this.account = terms.account;
    this.waitedMs = terms.waitedMs;
    this.lease = lease;
    this.#session = session;
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
    const request = nextNonce(this.#session, this.lease, { ...options, account: options.account ?? this.drawsFor });
    return this.#session.ask(request, { giveUpAtMs: undefined, signal: options.signal });
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

  /** The lease is the outer call's, and so is its release. */
  override async release(outcome?: Outcome, options: ReleaseOptions = {}): Promise<boolean> {
    checkArgument('outcome', outcome);
    checkOptions('release', options);
    return false;
  }

  override async [Symbol.asyncDispose](): Promise<void> {}

  protected override get drawsFor(): string {
    return this.account;
  }
}
