import type { Outcome } from '../../terms.ts';
import type { Grant, NextOptions, ReleaseOptions } from '../api.ts';
import { checkArgument, checkOptions } from '../calls/options.ts';
import type { Lease } from './lease.ts';

/** What a grant can ask for. */
export interface GrantKeeper {
  next(lease: Lease, options: NextOptions): Promise<bigint>;
  renew(lease: Lease, ttlMs: number | undefined): Promise<number>;
  release(lease: Lease, outcome: Outcome, options: ReleaseOptions): Promise<boolean>;
  /** Releases as `unknown` without waiting. */
  drop(lease: Lease): void;
}

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
  protected readonly keeper: GrantKeeper;

  constructor(lease: Lease, keeper: GrantKeeper, terms: GrantTerms) {
    this.nonce = terms.nonce;
    this.count = terms.count;
    this.account = terms.account;
    this.waitedMs = terms.waitedMs;
    this.lease = lease;
    this.keeper = keeper;
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
    return this.keeper.next(this.lease, options);
  }

  async renew(ttlMs?: number): Promise<number> {
    checkArgument('ttlMs', ttlMs);
    return this.keeper.renew(this.lease, ttlMs);
  }

  async release(outcome: Outcome = 'unknown', options: ReleaseOptions = {}): Promise<boolean> {
    // Before the lease is let go of here: the daemon would refuse, and the lane would stay taken until it ends.
    checkArgument('outcome', outcome);
    checkOptions('release', options);
    return this.keeper.release(this.lease, outcome, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.keeper.drop(this.lease);
  }
}

/** A grant within another: it has its own nonce and end, and shares the lease. */
export class NestedGrant extends LeaseGrant {
  readonly #hold: { readonly signal: AbortSignal };

  constructor(lease: Lease, keeper: GrantKeeper, terms: GrantTerms, hold: { readonly signal: AbortSignal }) {
    super(lease, keeper, terms);
    this.#hold = hold;
  }

  override get signal(): AbortSignal {
    return this.#hold.signal;
  }

  override async next(options: NextOptions = {}): Promise<bigint> {
    checkOptions('next', options);
    return this.keeper.next(this.lease, { ...options, account: options.account ?? this.account });
  }

  /** The lease is the outer call's, and so is its release. */
  override async release(outcome?: Outcome, options: ReleaseOptions = {}): Promise<boolean> {
    checkArgument('outcome', outcome);
    checkOptions('release', options);
    return false;
  }

  override async [Symbol.asyncDispose](): Promise<void> {}
}
