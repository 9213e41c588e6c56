/**
 * What all parts of the broker share: its tables, and the ports behind them. It decides nothing, and each part takes from
 * it what it needs.
 */
import type { Clock } from '../../clock.ts';
import { MAX_ACCOUNTS_IN_USE, MAX_WAITING, MAX_WAITING_PER_CLIENT } from '../../terms.ts';
import { AccountTable } from '../accounts/account-table.ts';
import { Drain } from '../accounts/drain.ts';
import { NO_POLICIES, type Policies } from '../accounts/policies.ts';
import { DeadlineQueue } from '../lanes/deadline-queue.ts';
import { Ledger } from '../nonces/ledger.ts';
import type {
  AccountNotes,
  AccountNotesFound,
  DurableState,
  LeaseNotes,
  NotesFound,
  Observer,
  StateStore,
} from '../ports.ts';
import { Histogram } from '../record/histogram.ts';
import { RecentCalls } from '../record/recent-calls.ts';
import { RecentEvents } from '../record/recent-events.ts';
import { RecentRefusals } from '../record/recent-refusals.ts';
import { RefusingClients } from '../record/refusing-clients.ts';
import { LaneMap } from './lane-map.ts';
import type { Due } from './lease.ts';
import { LeaseTable } from './lease-table.ts';
import { Phase } from './phase.ts';

export interface Limits {
  readonly waitingPerClient: number;
  readonly waiting: number;
  readonly accounts: number;
}

export const DEFAULT_LIMITS: Limits = {
  waitingPerClient: MAX_WAITING_PER_CLIENT,
  waiting: MAX_WAITING,
  accounts: MAX_ACCOUNTS_IN_USE,
};

export interface BrokerOptions {
  readonly clock: Clock;
  readonly bootId: string;
  readonly state: DurableState;
  readonly store: StateStore;
  readonly notes: LeaseNotes;
  readonly found: NotesFound;
  readonly accountNotes: AccountNotes;
  readonly accountsFound: AccountNotesFound;
  /** By default nothing is configured. The state must fit them: `startingState` makes it fit. */
  readonly policies?: Policies;
  readonly observer: Observer;
  readonly limits?: Limits;
}

export interface BrokerParts {
  readonly clock: Clock;
  readonly startedAtMs: number;
  readonly limits: Limits;
  readonly phase: Phase;
  readonly ledger: Ledger;
  readonly accounts: AccountTable;
  readonly lanes: LaneMap;
  readonly leases: LeaseTable;
  readonly deadlines: DeadlineQueue<Due>;
  readonly drain: Drain;
  readonly recentCalls: RecentCalls;
  readonly recentEvents: RecentEvents;
  readonly recentRefusals: RecentRefusals;
  readonly refusingClients: RefusingClients;
  /** How long the calls that have ended had waited, and how long they lasted. */
  readonly waits: Histogram;
  readonly holds: Histogram;
  /** What it observes is also added to `recentEvents`, and its `failed` first ends the phase. */
  readonly observer: Observer;
}

/** `onWritten` is called after each write of the state, with the error if it failed. */
export function brokerPartsOf(options: BrokerOptions, onWritten: (failure: Error | undefined) => void): BrokerParts {
  const { clock, bootId, state, store, limits = DEFAULT_LIMITS, policies = NO_POLICIES } = options;
  const startedAtMs = clock.monotonicMs();
  const recentEvents = new RecentEvents();
  const phase = new Phase((error) => options.observer.failed(error));
  const failed = (error: Error) => phase.fail(error);
  const observer: Observer = {
    ...options.observer,
    failed,
    observe(event) {
      recentEvents.add(event, clock.monotonicMs());
      options.observer.observe(event);
    },
  };
  const ledger = new Ledger({ clock, bootId, state, store, observer, onWritten });
  const accounts = new AccountTable({
    limit: limits.accounts,
    ledger,
    policies,
    notes: options.accountNotes,
    found: options.accountsFound,
    nowMs: startedAtMs,
    onFailed: failed,
  });
  const deadlines = new DeadlineQueue<Due>();
  return {
    clock,
    startedAtMs,
    limits,
    phase,
    ledger,
    accounts,
    lanes: new LaneMap(state.exclusive, deadlines),
    leases: new LeaseTable(options.notes, failed),
    deadlines,
    drain: new Drain(),
    recentCalls: new RecentCalls(),
    recentEvents,
    recentRefusals: new RecentRefusals(),
    refusingClients: new RefusingClients(),
    waits: new Histogram(),
    holds: new Histogram(),
    observer,
  };
}
