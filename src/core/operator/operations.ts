/**
 * What an operator changes: what is exclusive, how high a sequence stands, which accounts are paused, what is configured.
 * Each change is first durable and then in effect. If it is refused, or its write fails, nothing has changed. None lowers
 * a sequence, and only `advance` raises one at will (I10).
 */
import type { Refusal } from '../../errors.ts';
import type { ExclusionPolicy, Unit } from '../../terms.ts';
import type { Policies } from '../accounts/policies.ts';
import type { BrokerParts } from '../leases/broker-parts.ts';
import type { Grants } from '../leases/grants.ts';
import { costsOf } from '../leases/lease.ts';
import type { DurableChange } from '../nonces/durable-change.ts';
import { notDurable, SHUTTING_DOWN } from '../nonces/refusals.ts';
import { firstOf } from '../record/listed.ts';
import { type AdvanceParams, type AdvancePlan, OperatorPlans } from './operator-plans.ts';
import type { CommandOf } from './policy-plan.ts';

type PauseState = 'running' | 'paused';

export interface PauseChange {
  readonly before: PauseState;
  readonly after: PauseState;
  /** Whether the account has ever drawn. If not, its label may be misspelt. */
  readonly isKnown: boolean;
}

type DrainState = 'running' | 'draining';

export interface DrainChange {
  readonly before: DrainState;
  readonly after: DrainState;
}

const drainState = (isOn: boolean): DrainState => (isOn ? 'draining' : 'running');

export interface ExclusionChange {
  readonly before: ExclusionPolicy;
  readonly after: ExclusionPolicy;
}

export interface Advanced {
  readonly sequence: string;
  readonly before: bigint;
  readonly after: bigint;
  readonly unit: Unit;
  readonly accounts: readonly string[];
}

export interface Followed {
  /** Accounts that stay on their sequence in spite of the policies, and why. */
  readonly kept: readonly string[];
}

const ofNonced: CommandOf = (args) => `nonced state ${args}`;

export class Operations {
  readonly #parts: BrokerParts;
  readonly #grants: Grants;
  readonly #plans: OperatorPlans;
  #configurationProblem: string | undefined;
  /** How many configurations have been read, bad ones too. A write may take longer than it takes to read the next one. */
  #configurationsRead = 0;

  constructor(parts: BrokerParts, grants: Grants) {
    this.#parts = parts;
    this.#grants = grants;
    this.#plans = new OperatorPlans(parts.ledger);
  }

  async setExclusive(policy: ExclusionPolicy): Promise<Refusal | ExclusionChange> {
    const { lanes, observer } = this.#parts;
    let before = lanes.policy;
    const refused = await this.#commit(() => {
      before = lanes.policy;
      const inEffect = () => {
        this.#grants.switchTo(policy);
        observer.observe({ kind: 'exclusion-changed', before, after: policy });
      };
      return { exclusive: policy, inEffect };
    });
    return refused ?? { before, after: policy };
  }

  async advance(params: AdvanceParams): Promise<Refusal | Advanced> {
    const { accounts, clock, observer } = this.#parts;
    let planned: AdvancePlan | undefined;
    let { target } = params;
    const refused = await this.#commit(() => {
      const plan = this.#plans.advance({ ...params, target }, accounts.policies.of(params.account ?? ''));
      if ('code' in plan) return plan;
      planned = plan;
      // `by` counts from the last nonce at the time of the request, not at the time of the write.
      if (target.kind === 'by') target = { kind: 'to', nonce: plan.after };
      const inEffect = () => {
        const { sequence, before, after } = plan;
        accounts.advanced(sequence, clock.monotonicMs());
        observer.observe({ kind: 'advanced', sequence: sequence.name, before, after });
      };
      return { ...plan.change, inEffect };
    });
    if (refused !== undefined || planned === undefined) return refused ?? SHUTTING_DOWN;
    const { sequence, before, after } = planned;
    const sharing = [...accounts.values()].filter((account) => account.sequence === sequence);
    const names = params.account === undefined ? firstOf(sharing, ({ name }) => name) : [params.account];
    return { sequence: sequence.name, before, after, unit: sequence.unit, accounts: names };
  }

  async setPaused(accountName: string, pausing: boolean): Promise<Refusal | PauseChange> {
    const { ledger } = this.#parts;
    const isKnown = ledger.isKnown(accountName);
    let before: PauseState = 'running';
    const refused = await this.#commit(() => {
      before = ledger.isPaused(accountName) ? 'paused' : 'running';
      const inEffect = () => this.#pausedOrResumed(accountName, pausing);
      return { ...this.#plans.pause(accountName, pausing), inEffect };
    });
    return refused ?? { before, after: pausing ? 'paused' : 'running', isKnown };
  }

  /** Not durable: a restart ends it. */
  setDraining(draining: boolean): DrainChange {
    const { clock, drain, observer } = this.#parts;
    const before = drain.isOn;
    if (draining) {
      drain.begin(clock.monotonicMs());
      this.#grants.drain();
    } else {
      drain.end();
    }
    if (before !== draining) observer.observe({ kind: 'drain-changed', isDraining: draining });
    return { before: drainState(before), after: drainState(draining) };
  }

  async follow(policies: Policies, commandOf: CommandOf = ofNonced): Promise<Refusal | Followed> {
    const { accounts, clock, lanes, leases, ledger, observer } = this.#parts;
    let kept: readonly string[] = [];
    this.#configurationsRead += 1;
    const nth = this.#configurationsRead;
    const refused = await this.#commit(() => {
      const plan = this.#plans.policies(policies, commandOf);
      if ('code' in plan) return plan;
      kept = plan.kept;
      // Not part of this write: an account that has never drawn draws first from the sequence that these policies give it.
      ledger.forgetNewcomers();
      const inEffect = () => {
        ledger.forgetNewcomers();
        accounts.follow(policies, costsOf(leases.values()), clock.monotonicMs());
        this.#grants.switchTo(lanes.policy);
        if (nth === this.#configurationsRead) this.#configurationProblem = undefined;
        observer.observe({ kind: 'configured' });
      };
      return { ...plan.change, inEffect };
    });
    return refused ?? { kept };
  }

  refuseConfiguration(problem: string): void {
    this.#configurationsRead += 1;
    this.#configurationProblem = problem;
    this.#parts.observer.observe({ kind: 'configuration-refused', problem });
  }

  /** Why the configuration that was read last is not the one in effect; undefined if it is. */
  get configurationProblem(): string | undefined {
    return this.#configurationProblem;
  }

  /** Makes a change durable. Returns why that failed, if so; then nothing has changed. */
  async #commit(plan: () => DurableChange | Refusal): Promise<Refusal | undefined> {
    const { ledger, phase } = this.#parts;
    if (!phase.isGranting) return SHUTTING_DOWN;
    const committed = await ledger.commit(() => {
      const change = plan();
      if ('code' in change) return change;
      // Looked at again: the daemon may have been stopped while the change was being written.
      return { ...change, inEffect: () => phase.isGranting && change.inEffect?.() };
    });
    switch (committed.kind) {
      case 'durable':
        return undefined;
      case 'refused':
        return committed.refusal;
      case 'failed':
        return phase.isStopped ? SHUTTING_DOWN : notDurable(committed.error);
    }
  }

  #pausedOrResumed(accountName: string, pausing: boolean): void {
    const { accounts, clock, observer } = this.#parts;
    observer.observe({ kind: pausing ? 'paused' : 'resumed', account: accountName });
    const account = accounts.get(accountName);
    if (account === undefined) return;
    account.paused = pausing;
    if (pausing) {
      this.#grants.sweep((other) => other === account);
    } else {
      if (account.breaker.isOpen) {
        observer.observe({ kind: 'breaker-changed', account: accountName, openFor: undefined });
      }
      account.breaker.close();
      accounts.note(account, clock.monotonicMs());
    }
  }
}
