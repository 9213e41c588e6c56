/**
 * What the parts of the broker stand on: its tables, and the ports behind them. It decides nothing; every part takes of it
 * what it needs, and none changes which ones they are.
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
import type { Due } from './entities.ts';
import { LaneMap } from './lane-map.ts';
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
  /** Left out: nothing is configured. What they need of the state, it must have. */
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
  readonly ended: RecentCalls;
  readonly drain: Drain;
  /** How long calls that have ended had waited, and how long they lasted. */
  readonly waits: Histogram;
  readonly holds: Histogram;
  readonly recentEvents: RecentEvents;
  /** Hears every event, and more than `recentEvents` keeps. */
  readonly observer: Observer;
}

/** `written` hears of every write of the state that has ended, and why where it failed. */
export function brokerPartsOf(options: BrokerOptions, written: (failure: Error | undefined) => void): BrokerParts {
  const { clock, state } = options;
  const recentEvents = new RecentEvents();
  const observer: Observer = {
    ...options.observer,
    observe(event) {
      recentEvents.add(event, clock.monotonicMs());
      options.observer.observe(event);
    },
  };
  const limits = options.limits ?? DEFAULT_LIMITS;
  const phase = new Phase((error) => observer.failed(error));
  const failed = (error: Error) => phase.fail(error);
  const startedAtMs = clock.monotonicMs();
  const ledger = new Ledger({
    clock,
    bootId: options.bootId,
    state,
    store: options.store,
    observer: { ...observer, failed },
    onWritten: written,
  });
  const accounts = new AccountTable({
    limit: limits.accounts,
    ledger,
    policies: options.policies ?? NO_POLICIES,
    notes: options.accountNotes,
    found: options.accountsFound,
    nowMs: startedAtMs,
    failed,
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
    ended: new RecentCalls(),
    drain: new Drain(),
    waits: new Histogram(),
    holds: new Histogram(),
    recentEvents,
    observer,
  };
}
