import type { LeaseEnd, Outcome, Priority } from '../../terms.ts';
import type { Nonce, Token } from '../ports.ts';
import { type Page, Ring } from './ring.ts';

/** How many ended calls are remembered, over all accounts. */
export const REMEMBERED_CALLS = 1_000;

/** A call that was granted. Times are on the monotonic clock. */
export interface GrantedCall {
  readonly account: string;
  readonly lane: string;
  /** The lane had one call at a time: the policy was not `off` when it was granted. */
  readonly exclusive: boolean;
  readonly holder: string | undefined;
  readonly pid: number | undefined;
  readonly label: string | undefined;
  readonly priority: Priority;
  /** Of one account, who was granted later has the higher token and the higher nonce. */
  readonly token: Token;
  /** The first nonce of the grant; undefined for one that was granted before a restart of the daemon. */
  readonly nonce: Nonce | undefined;
  /** The last nonce drawn under the lease, for whatever account. */
  readonly lastNonce: Nonce | undefined;
  /** Another account for which a nonce was drawn under the lease: what is told of the call may be about that one. */
  readonly alsoFor: string | undefined;
  readonly waitedMs: number;
  readonly grantedAtMs: number;
}

export interface EndedCall extends GrantedCall {
  readonly endedAtMs: number;
  readonly ended: LeaseEnd;
  /** Its holder made nonces from its own clock. */
  readonly ownClock: boolean;
  outcome: Outcome;
  /** When the outcome was told; `endedAtMs` where it was told in time, or never. */
  toldAtMs: number;
  /** The outcome was told after the lease had ended. */
  late: boolean;
}

/**
 * The last calls that ended, of all accounts, for whoever asks why a nonce was rejected. Adding one overwrites the
 * oldest and allocates nothing: every release comes through here.
 */
export class RecentCalls {
  readonly #calls: Ring<EndedCall>;
  /** Who may still tell the outcome of the call at the same place. */
  readonly #owners: (object | undefined)[];
  #owned = 0;

  constructor(capacity: number = REMEMBERED_CALLS) {
    this.#calls = new Ring(capacity);
    this.#owners = new Array<object | undefined>(capacity).fill(undefined);
  }

  /** `owner` may tell the outcome afterwards, if the lease ended under its hands; nobody may where it is left out. */
  add(call: EndedCall, owner?: object): void {
    this.#setOwner(this.#calls.nextIndex, owner);
    this.#calls.add(call);
  }

  /** The account's calls that are remembered, the latest to end first. */
  of(account: string): EndedCall[] {
    return [...this.#calls.latestFirst()].filter((call) => call.account === account);
  }

  /** Up to `limit` of those that ended after the one numbered `after`, of one account or of all; without it, the last. */
  after(after: number | undefined, limit: number, account?: string): Page<EndedCall> {
    return this.#calls.after(after, limit, (call) => account === undefined || call.account === account);
  }

  /** The call that was granted in the same lane before `call`; where the lane was not exclusive, of the same account. */
  before({ token, lane, account, exclusive }: GrantedCall): EndedCall | undefined {
    let found: EndedCall | undefined;
    for (const call of this.#calls.places) {
      if (call === undefined || call.token >= token || call.token <= (found?.token ?? -1)) continue;
      if (exclusive ? call.lane === lane : call.account === account) found = call;
    }
    return found;
  }

  /**
   * A release that came after its lease was over tells how the call ended. Answers the call; undefined where none is
   * remembered or `owner` is not who held it (I5). `unknown` says nothing, and the next word still counts.
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

  /** `owner` is gone and tells nothing more: it is not kept in memory for the sake of its calls. */
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
