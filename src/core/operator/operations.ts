/**
 * What an operator changes: what is exclusive, how high a sequence stands, who is paused, what is configured. Each change
 * is durable first and then in effect; where it is refused or its write fails, nothing has changed. None lowers a
 * sequence, and only `advance` raises one at will (I10).
 */

import type { Clock } from '../../clock.ts';
import type { Refusal } from '../../errors.ts';
import type { ExclusionPolicy, Unit } from '../../terms.ts';
import type { AccountTable } from '../accounts/account-table.ts';
import type { Drain } from '../accounts/drain.ts';
import type { Policies } from '../accounts/policies.ts';
import type { BrokerParts } from '../leases/broker-parts.ts';
import type { Grants } from '../leases/grants.ts';
import type { LaneMap } from '../leases/lane-map.ts';
import type { LeaseTable } from '../leases/lease-table.ts';
import { costsOf } from '../leases/lease-views.ts';
import type { Phase } from '../leases/phase.ts';
import type { DurableChange } from '../nonces/ceiling-writer.ts';
import type { Ledger } from '../nonces/ledger.ts';
import { notDurable, SHUTTING_DOWN } from '../nonces/refusals.ts';
import type { Observer } from '../ports.ts';
import { firstOf } from '../record/listed.ts';
import { type AdvanceParams, type AdvancePlan, OperatorPlans } from './operator-plans.ts';

type PauseState = 'running' | 'paused';

export interface PauseChange {
  readonly before: PauseState;
  readonly after: PauseState;
  /** Whether the account has ever drawn: otherwise its label may be misspelt. */
  readonly isKnown: boolean;
}

type DrainState = 'running' | 'draining';

export interface DrainChange {
  readonly before: DrainState;
  readonly after: DrainState;
}

const drainState = (isOn: boolean): DrainState => (isOn ? 'draining' : 'running');

export interface Advanced {
  readonly sequence: string;
  readonly before: bigint;
  readonly after: bigint;
  readonly unit: Unit;
  readonly accounts: readonly string[];
}

export class Operations {
  readonly #clock: Clock;
  readonly #phase: Phase;
  readonly #ledger: Ledger;
  readonly #plans: OperatorPlans;
  readonly #accounts: AccountTable;
  readonly #leases: LeaseTable;
  readonly #lanes: LaneMap;
  readonly #grants: Grants;
  readonly #observer: Observer;
  readonly #drain: Drain;

  #configurationProblem: string | undefined;

  constructor({ clock, phase, ledger, accounts, leases, lanes, observer, drain }: BrokerParts, grants: Grants) {
    this.#clock = clock;
    this.#phase = phase;
    this.#ledger = ledger;
    this.#plans = new OperatorPlans(ledger);
    this.#accounts = accounts;
    this.#leases = leases;
    this.#lanes = lanes;
    this.#grants = grants;
    this.#observer = observer;
    this.#drain = drain;
  }

  /** Switches what is exclusive, durably. Live leases stay; waiters are queued anew in the order of their arrival. */
  async setExclusive(policy: ExclusionPolicy): Promise<Refusal | { before: ExclusionPolicy; after: ExclusionPolicy }> {
    let before = this.#lanes.policy;
    const refused = await this.#commit(() => {
      before = this.#lanes.policy;
      const inEffect = () => {
        this.#grants.switchTo(policy);
        this.#observer.observe({ kind: 'exclusion-changed', before, after: policy });
      };
      return { exclusive: policy, inEffect };
    });
    return refused ?? { before, after: policy };
  }

  /** Raises a sequence for ever, durably. Answers the lowest nonce that could have come next, before and after. */
  async advance(params: AdvanceParams): Promise<Refusal | Advanced> {
    let planned: AdvancePlan | undefined;
    let { target } = params;
    const refused = await this.#commit(() => {
      const plan = this.#plans.advance({ ...params, target }, this.#accounts.policies.of(params.account ?? ''));
      if ('code' in plan) return plan;
      planned = plan;
      // By so much above what was the last one when it was asked for, and not when its write begins.
      if (target.kind === 'by') target = { kind: 'to', nonce: plan.after };
      const inEffect = () => {
        const { sequence, before, after } = plan;
        this.#accounts.advanced(sequence, this.#clock.monotonicMs());
        this.#observer.observe({ kind: 'advanced', sequence: sequence.name, before, after });
      };
      return { ...plan.change, inEffect };
    });
    if (refused !== undefined || planned === undefined) return refused ?? SHUTTING_DOWN;
    const { sequence, before, after } = planned;
    const sharing = [...this.#accounts.values()].filter((account) => account.sequence === sequence);
    const accounts = params.account === undefined ? firstOf(sharing, ({ name }) => name) : [params.account];
    return { sequence: sequence.name, before, after, unit: sequence.unit, accounts };
  }

  /**
   * Stops an account, or lets it go on, durably. Calls under way are not touched. Letting it go on also closes its
   * circuit breaker: the operator knows that the cause is gone.
   */
  async setPaused(accountName: string, pausing: boolean): Promise<Refusal | PauseChange> {
    const isKnown = this.#ledger.isKnown(accountName);
    let before: PauseState = 'running';
    const refused = await this.#commit(() => {
      before = this.#ledger.isPaused(accountName) ? 'paused' : 'running';
      const inEffect = () => this.#pausedOrResumed(accountName, pausing);
      return { ...this.#plans.pause(accountName, pausing), inEffect };
    });
    return refused ?? { before, after: pausing ? 'paused' : 'running', isKnown };
  }

  /** Lets only urgent calls begin from now on, or all again. Not durable: a restart ends it. */
  setDraining(draining: boolean): DrainChange {
    const before = this.#drain.isOn;
    if (draining) {
      this.#drain.begin(this.#clock.monotonicMs());
      this.#grants.drain();
    } else {
      this.#drain.end();
    }
    if (before !== draining) this.#observer.observe({ kind: 'drain-changed', isDraining: draining });
    return { before: drainState(before), after: drainState(draining) };
  }

  /** Goes by other policies from now on. Answers what an operator should hear of it; where refused nothing has changed. */
  async follow(policies: Policies): Promise<Refusal | { readonly kept: readonly string[] }> {
    let kept: readonly string[] = [];
    const refused = await this.#commit(() => {
      const plan = this.#plans.policies(policies);
      if ('code' in plan) return plan;
      kept = plan.kept;
      // Not written along: who has never drawn draws first from where these policies say.
      this.#ledger.forgetNewcomers();
      const inEffect = () => {
        this.#ledger.forgetNewcomers();
        this.#accounts.follow(policies, costsOf(this.#leases.values()), this.#clock.monotonicMs());
        this.#grants.switchTo(this.#lanes.policy);
        this.#configurationProblem = undefined;
        this.#observer.observe({ kind: 'configured' });
      };
      return { ...plan.change, inEffect };
    });
    return refused ?? { kept };
  }

  /** A new configuration cannot be followed: the one in effect stays. */
  refuseConfiguration(problem: string): void {
    this.#configurationProblem = problem;
    this.#observer.observe({ kind: 'configuration-refused', problem });
  }

  /** Why the configuration that was read last is not the one in effect; undefined where it is. */
  get configurationProblem(): string | undefined {
    return this.#configurationProblem;
  }

  /** Makes a change durable. Answers why not; then nothing has changed. */
  async #commit(plan: () => DurableChange | Refusal): Promise<Refusal | undefined> {
    if (!this.#phase.isGranting) return SHUTTING_DOWN;
    const committed = await this.#ledger.commit(() => {
      const change = plan();
      if ('code' in change) return change;
      // Looked at again: the daemon may have been told to stop while the change was being written.
      return { ...change, inEffect: () => this.#phase.isGranting && change.inEffect?.() };
    });
    switch (committed.kind) {
      case 'durable':
        return undefined;
      case 'refused':
        return committed.refusal;
      case 'failed':
        return this.#phase.isStopped ? SHUTTING_DOWN : notDurable(committed.error);
    }
  }

  #pausedOrResumed(accountName: string, pausing: boolean): void {
    this.#observer.observe({ kind: pausing ? 'paused' : 'resumed', account: accountName });
    const account = this.#accounts.get(accountName);
    if (account === undefined) return;
    account.paused = pausing;
    if (pausing) {
      this.#grants.sweep((other) => other === account);
    } else {
      if (account.breaker.isOpen) {
        this.#observer.observe({ kind: 'breaker-changed', account: accountName, openFor: undefined });
      }
      account.breaker.close();
      this.#accounts.note(account, this.#clock.monotonicMs());
    }
  }
}
