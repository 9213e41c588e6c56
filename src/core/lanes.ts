import type { Lease, LeaseLane, Waiter } from './entities.ts';
import { Lane } from './lane.ts';
import type { ExclusionPolicy } from './ports.ts';

const DEFAULT_EXCHANGE = 'default';
/** Above it, lanes that nobody holds or waits for are forgotten. */
const MANY_LANES = 1_000;

/** Which account maps to which lane, under the exclusion policy of now. */
export class LaneMap {
  readonly #lanes = new Map<string, LeaseLane>();
  #policy: ExclusionPolicy;

  constructor(policy: ExclusionPolicy) {
    this.#policy = policy;
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
  covers(lane: LeaseLane, accountName: string): boolean {
    return this.#nameOf(accountName) === lane.name;
  }

  of(accountName: string): LeaseLane {
    const name = this.#nameOf(accountName);
    return this.#lanes.get(name) ?? this.#add(name);
  }

  /** From now on everybody is in the lane that another policy gives him. */
  switchTo(policy: ExclusionPolicy, leases: Iterable<Lease>): void {
    const waiters: Waiter[] = this.all().flatMap((lane) => [...lane.waiters()]);
    this.#lanes.clear();
    this.#policy = policy;
    // I4: a lease belongs to its account; under the new policy it may hold another lane, together with others.
    for (const lease of leases) {
      lease.lane = this.of(lease.account.name);
      lease.lane.leases.add(lease);
    }
    // I6: nobody loses its place by a switch.
    waiters.sort((a, b) => a.arrival - b.arrival);
    for (const waiter of waiters) {
      waiter.lane = this.of(waiter.account.name);
      waiter.lane.enqueue(waiter);
    }
  }

  #nameOf(accountName: string): string {
    return this.#policy === 'account' ? accountName : DEFAULT_EXCHANGE;
  }

  #add(name: string): LeaseLane {
    if (this.#lanes.size >= MANY_LANES) {
      const busy = new Set(this.busy());
      for (const lane of this.all()) if (!busy.has(lane)) this.#lanes.delete(lane.name);
    }
    const lane: LeaseLane = new Lane(name, this.#policy !== 'off');
    this.#lanes.set(name, lane);
    return lane;
  }
}
