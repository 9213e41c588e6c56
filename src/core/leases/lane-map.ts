import type { ExclusionPolicy } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import type { Timetable } from '../lanes/account-queue.ts';
import { Lane } from '../lanes/lane.ts';
import type { Lease, LeaseLane, Waiter } from './lease.ts';

/** With more lanes than this, those without a lease or a waiter are forgotten. */
const MANY_LANES = 1_000;

/** Maps each account to its lane, under the current exclusion policy. */
export class LaneMap {
  readonly #lanes = new Map<string, LeaseLane>();
  /** Where the queues of paced accounts wait for their time. */
  readonly #timetable: Timetable<Waiter>;
  #policy: ExclusionPolicy;

  constructor(policy: ExclusionPolicy, timetable: Timetable<Waiter>) {
    this.#policy = policy;
    this.#timetable = timetable;
  }

  get policy(): ExclusionPolicy {
    return this.#policy;
  }

  /** Returns a copy, so that lanes may change while the caller goes through them. */
  all(): LeaseLane[] {
    return [...this.#lanes.values()];
  }

  /** The lanes with a lease or a waiter. */
  *busy(): Iterable<LeaseLane> {
    for (const lane of this.#lanes.values()) if (lane.leases.size > 0 || lane.waiting > 0) yield lane;
  }

  /** Whether a lease in `lane` also covers a call of the account. */
  covers(lane: LeaseLane, account: Account): boolean {
    return this.#nameOf(account) === lane.name;
  }

  of(account: Account): LeaseLane {
    return this.#named(this.#nameOf(account));
  }

  /** Moves everything into the lane that `policy` gives its account, also if accounts have changed exchanges. */
  switchTo(policy: ExclusionPolicy, leases: Iterable<Lease>): void {
    const waiters: Waiter[] = this.all().flatMap((lane) => lane.drain());
    this.#lanes.clear();
    this.#policy = policy;
    // I4: a lease belongs to its account. Under the new policy it may share a lane with others.
    for (const lease of leases) {
      lease.lane = this.of(lease.account);
      lease.lane.leases.add(lease);
      // I4: its call goes to the exchange of before, whose lane stays closed until it has ended.
      const isMoved = policy !== 'account' && lease.exchange !== lease.account.exchange.name;
      lease.formerLane = isMoved ? this.#named(lease.exchange) : undefined;
      lease.formerLane?.leases.add(lease);
    }
    // I6: no waiter loses its place by a switch.
    waiters.sort((a, b) => a.arrival - b.arrival);
    for (const waiter of waiters) {
      waiter.lane = this.of(waiter.account);
      waiter.lane.enqueue(waiter);
    }
  }

  #named(name: string): LeaseLane {
    return this.#lanes.get(name) ?? this.#add(name);
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
