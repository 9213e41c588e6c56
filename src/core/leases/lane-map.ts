import type { ExclusionPolicy } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import { Lane, type Timetable } from '../lanes/lane.ts';
import type { Lease, LeaseLane, Waiter } from './entities.ts';

/** Above it, lanes that nobody holds or waits for are forgotten. */
const MANY_LANES = 1_000;

/** Which account maps to which lane, under the exclusion policy of now. */
export class LaneMap {
  readonly #lanes = new Map<string, LeaseLane>();
  /** Where waiters that are paced wait for their time. */
  readonly #timetable: Timetable<Waiter>;
  #policy: ExclusionPolicy;

  constructor(policy: ExclusionPolicy, timetable: Timetable<Waiter>) {
    this.#policy = policy;
    this.#timetable = timetable;
  }

  get policy(): ExclusionPolicy {
    return this.#policy;
  }

  /** A copy, to be changed while it is gone through. */
  all(): LeaseLane[] {
    return [...this.#lanes.values()];
  }

  /** The lanes that somebody holds or waits for. */
  *busy(): Iterable<LeaseLane> {
    for (const lane of this.#lanes.values()) if (lane.leases.size > 0 || lane.waiting > 0) yield lane;
  }

  /** Whether a lease in `lane` covers a call for the account too. */
  covers(lane: LeaseLane, account: Account): boolean {
    return this.#nameOf(account) === lane.name;
  }

  of(account: Account): LeaseLane {
    const name = this.#nameOf(account);
    return this.#lanes.get(name) ?? this.#add(name);
  }

  /** From now on everybody is in the lane that the policy gives him, also where accounts have changed exchanges. */
  switchTo(policy: ExclusionPolicy, leases: Iterable<Lease>): void {
    const waiters: Waiter[] = this.all().flatMap((lane) => lane.drain());
    this.#lanes.clear();
    this.#policy = policy;
    // I4: a lease belongs to its account; under the new policy it may hold another lane, together with others.
    for (const lease of leases) {
      lease.lane = this.of(lease.account);
      lease.lane.leases.add(lease);
    }
    // I6: nobody loses its place by a switch.
    waiters.sort((a, b) => a.arrival - b.arrival);
    for (const waiter of waiters) {
      waiter.lane = this.of(waiter.account);
      waiter.lane.enqueue(waiter);
    }
  }

  #nameOf(account: Account): string {
    return this.#policy === 'account' ? account.name : account.exchange.name;
  }

  #add(name: string): LeaseLane {
    if (this.#lanes.size >= MANY_LANES) {
      const busy = new Set(this.busy());
      for (const lane of this.all()) if (!busy.has(lane)) this.#lanes.delete(lane.name);
    }
    const lane: LeaseLane = new Lane(name, this.#policy !== 'off', this.#timetable);
    this.#lanes.set(name, lane);
    return lane;
  }
}
