import type { LeaseEnd, Outcome, Priority } from '../../terms.ts';
import type { Nonce, Token } from '../ports.ts';
import { type Page, Ring } from './ring.ts';

/** How many ended calls are remembered, for all accounts together. */
export const REMEMBERED_CALLS = 1_000;

/** A call that was granted. Times are on the monotonic clock. */
export interface GrantedCall {
  readonly account: string;
  readonly lane: string;
  /** The lane had one call at a time: the policy was not `off` when the lease was granted. */
  readonly exclusive: boolean;
  readonly holder: string | undefined;
  readonly pid: number | undefined;
  readonly label: string | undefined;
  readonly priority: Priority;
  /** Of two calls of one account, the one that was granted later has the higher token and the higher nonce. */
  readonly token: Token;
  /** The first nonce of the grant; undefined if the lease was granted before a restart of the daemon. */
  readonly nonce: Nonce | undefined;
  /** The last nonce drawn under the lease, for any account. */
  readonly lastNonce: Nonce | undefined;
  /** Another account that drew a nonce under the lease. What is told of the call may be about that one. */
  readonly alsoFor: string | undefined;
  readonly waitedMs: number;
  readonly grantedAtMs: number;
}

export interface EndedCall extends GrantedCall {
  readonly endedAtMs: number;
  readonly ended: LeaseEnd;
  /** The holder made nonces from its own clock. */
  readonly ownClock: boolean;
  outcome: Outcome;
  /** When the outcome was told; `endedAtMs` if it was told in time, or never. */
  toldAtMs: number;
  /** The outcome was told after the lease had ended. */
  late: boolean;
}

/**
 * The last calls that ended, of all accounts, for the question why a nonce was rejected. Adding one overwrites the oldest
 * and allocates nothing, because every release comes through here.
 */
export class RecentCalls {
  readonly #calls: Ring<EndedCall>;
  /** The client that may still tell the outcome of the call at the same place. */
  readonly #owners: (object | undefined)[];
  #owned = 0;

  constructor(capacity: number = REMEMBERED_CALLS) {
    this.#calls = new Ring(capacity);
    this.#owners = new Array<object | undefined>(capacity).fill(undefined);
  }

  /** `owner` is the client that may tell the outcome afterwards, if the daemon has ended its lease. */
  add(call: EndedCall, owner?: object): void {
    this.#setOwner(this.#calls.nextIndex, owner);
    this.#calls.add(call);
  }

  /** Returns the account's calls that are remembered, the latest to end first. */
  of(account: string): EndedCall[] {
    return [...this.#calls.latestFirst()].filter((call) => call.account === account);
  }

  /** Returns up to `limit` calls after the one numbered `after`, of one account or of all; without `after`, the last ones. */
  after(after: number | undefined, limit: number, account?: string): Page<EndedCall> {
    return this.#calls.after(after, limit, (call) => account === undefined || call.account === account);
  }

  /** Returns the call that was granted before `call` in its lane, or for its account if the lane was not exclusive. */
  before({ token, lane, account, exclusive }: GrantedCall): EndedCall | undefined {
    let found: EndedCall | undefined;
    for (const call of this.#calls.places) {
      if (call === undefined || call.token >= token || call.token <= (found?.token ?? -1)) continue;
      if (exclusive ? call.lane === lane : call.account === account) found = call;
    }
    return found;
  }

  /**
   * Takes the outcome from a release that came after its lease was over. Returns the call; undefined if it is not
   * remembered, or `owner` did not hold the lease (I5). `unknown` says nothing, and a later release still counts.
   */
  tellLate(token: Token, owner: object, outcome: Outcome, nowMs: number): EndedCall | undefined {
    if (this.#owned === 0) return undefined;
    const { places } = this.#calls;
    const index = places.findIndex((call, at) => call?.token === token && this.#owners[at] === owner);
    const call = places[index];
    if (call === undefined || outcome === 'unknown') return call;
    this.#setOwner(index, undefined);
    call.outcome = outcome;
    call.toldAtMs = nowMs;
    call.late = true;
    return call;
  }

  /** Forgets an `owner` that is gone, so that its calls do not keep it in memory. */
  forget(owner: object): void {
    if (this.#owned === 0) return;
    for (const [index, other] of this.#owners.entries()) if (other === owner) this.#setOwner(index, undefined);
  }

  #setOwner(index: number, owner: object | undefined): void {
    if (this.#owners[index] !== undefined) this.#owned -= 1;
    if (owner !== undefined) this.#owned += 1;
    this.#owners[index] = owner;
  }
}
