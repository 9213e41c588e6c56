/**
 * What an operator's request comes to: the change that must become durable, or why it is refused. Nothing is changed here,
 * and a plan holds only for the write that begins at the same time. No plan lets an account draw below what it has had
 * (I2), and none lowers a sequence (I10).
 */
import { formatDuration } from '../../durations.ts';
import { type Refusal, refusal } from '../../errors.ts';
import { MAX_SEQUENCES } from '../../terms.ts';
import type { AccountPolicy, Policies } from '../accounts/policies.ts';
import type { AccountChange } from '../nonces/assignments.ts';
import { DEFAULT_SEQUENCE, ownSequenceOf } from '../nonces/assignments.ts';
import type { DurableChange } from '../nonces/durable-change.ts';
import type { Ledger } from '../nonces/ledger.ts';
import { NonceSequence } from '../nonces/nonce-sequence.ts';
import { CROWDED, exhaustedBy, notAbove } from '../nonces/refusals.ts';
import { describeUnit, nonceFloorAt, nonceSpanMs, otherUnitOf } from '../nonces/sequence-clock.ts';
import { type CommandOf, countOfOperators, planPolicies, summariseProblem } from './policy-plan.ts';

export interface AdvanceParams {
  /** By default the account's own, or `default`. */
  readonly sequence?: string | undefined;
  /** The account is first given a sequence of its own. */
  readonly account?: string | undefined;
  readonly target:
    | { readonly kind: 'to'; readonly nonce: bigint }
    | { readonly kind: 'by'; readonly nonces: bigint }
    | { readonly kind: 'now' };
  readonly maxLeadMs: number;
}

export interface AdvancePlan {
  readonly sequence: NonceSequence;
  /** The lowest nonce that could have come next, and the lowest that can come next after the change. */
  readonly before: bigint;
  readonly after: bigint;
  readonly change: DurableChange;
}

export class OperatorPlans {
  readonly #ledger: Ledger;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Returns what a request to raise a sequence comes to, or why it is refused. */
  advance(params: AdvanceParams, policy: AccountPolicy): AdvancePlan | Refusal {
    const { account, target, maxLeadMs } = params;
    const owner = account === undefined ? undefined : this.#ownSequence(account, policy);
    if (owner !== undefined && 'code' in owner) return owner;
    const name = params.sequence ?? DEFAULT_SEQUENCE;
    const sequence = owner?.sequence ?? this.#ledger.sequences.get(name);
    if (sequence === undefined || sequence === this.#ledger.tokens) {
      return refusal('BAD_REQUEST', `there is no sequence ${name}; \`nonced status\` lists them`);
    }
    const { unit } = sequence;
    const before = (owner?.from ?? sequence).last + 1n;
    const anchor = target.kind === 'now' ? this.#ledger.sequenceClock.anchorHere() : undefined;
    if (anchor !== undefined && unit === 'counter') {
      return refusal(
        'BAD_REQUEST',
        `sequence ${sequence.name} is a counter and does not follow the clock; give a number instead of now`,
      );
    }
    const next = targetOf(target, before, nonceFloorAt(anchor?.wallMs ?? 0, unit));
    const meant = target.kind === 'to' ? otherUnitOf(next, unit) : undefined;
    if (meant !== undefined) {
      return refusal(
        'BAD_REQUEST',
        `${next} is in ${describeUnit(meant)}, but sequence ${sequence.name} is in ${describeUnit(unit)}; give a nonce of that unit`,
      );
    }
    if (account !== undefined && target.kind === 'to' && next < before) return notAbove(account, next, before - 1n);
    const leadMs = nonceSpanMs(next - this.#ledger.floor(unit), unit) ?? 0;
    if (leadMs > maxLeadMs) {
      return refusal(
        'BAD_REQUEST',
        `${next} is ${formatDuration(leadMs)} ahead of the clock, and that cannot be undone; ` +
          'if you mean it: --yes (up to 24 h) or --force (any distance), or in the protocol a higher maxLeadMs',
      );
    }
    // I2: until this is durable, the account may go on drawing below the ceiling of the sequence it leaves.
    const lowest = owner === undefined || owner.from === sequence ? before : owner.from.ceiling;
    const after = next > lowest ? next : lowest;
    if (after > sequence.max) return exhaustedBy(sequence, after);
    const change = {
      ...owner?.change,
      lifts: new Map([[sequence, after]]),
      ...(anchor === undefined ? {} : { anchor }),
    };
    return { sequence, before, after, change };
  }

  /** Returns what must become durable for other policies to hold, and which accounts stay where they are. */
  policies(
    policies: Policies,
    commandOf: CommandOf,
  ): { readonly change: DurableChange; readonly kept: readonly string[] } | Refusal {
    const { accounts } = this.#ledger.assignments;
    const plan = planPolicies({ sequences: this.#durableSequences(), accounts }, policies);
    if ('problem' in plan) return refusal('BAD_REQUEST', summariseProblem(plan, commandOf));
    const added: NonceSequence[] = [];
    const limits = new Map<NonceSequence, bigint>();
    for (const [name, durable] of plan.sequences) {
      const known = this.#ledger.sequences.get(name);
      if (known === undefined) added.push(new NonceSequence(name, durable));
      else limits.set(known, durable.max);
    }
    // A new sequence is written with a reserve, so that its first nonce does not have to wait.
    const lifts = new Map(added.map((sequence) => [sequence, 0n]));
    return { change: { added, limits, lifts, accounts: plan.accounts }, kept: plan.kept };
  }

  /** Returns the change that pauses or resumes an account. */
  pause(account: string, paused: boolean): DurableChange {
    // A label that is misspelt would take up room in the state for ever.
    if (!paused && !this.#ledger.assignments.accounts.has(account)) return {};
    return { accounts: new Map([[account, { paused }]]) };
  }

  #durableSequences() {
    return new Map(
      [...this.#ledger.sequences].map(([name, sequence]) => [name, sequence.durable(sequence.ceiling)] as const),
    );
  }

  /** Returns the account's own sequence, with the change that gives it one if it has none yet. */
  #ownSequence(account: string, policy: AccountPolicy): OwnSequence | Refusal {
    const from = this.#ledger.sequenceOf(account, policy);
    const mayHaveDrawn =
      this.#ledger.assignments.isCrowded && this.#ledger.assignments.sequenceOf(account) === undefined;
    // I2: it may have had nonces of the default sequence, and its own sequence would not be above them.
    if (mayHaveDrawn && from.name !== DEFAULT_SEQUENCE) return CROWDED;
    const name = ownSequenceOf(account);
    if (from.name === name) return { sequence: from, from, change: {} };
    const accounts: ReadonlyMap<string, AccountChange> = new Map([[account, { sequence: name }]]);
    const known = this.#ledger.sequences.get(name);
    if (known !== undefined) return { sequence: known, from, change: { accounts } };
    if (countOfOperators(this.#ledger.sequences.keys()) >= MAX_SEQUENCES) {
      return refusal(
        'LIMIT',
        `there are ${MAX_SEQUENCES} sequences already, and a sequence is never deleted; advance the one that the account shares with others: \`nonced status\` names it`,
      );
    }
    const sequence = new NonceSequence(name, from.durable(from.ceiling));
    return { sequence, from, change: { accounts, added: [sequence] } };
  }
}

/** A sequence of one account alone, and the sequence that the account has drawn from so far. */
interface OwnSequence {
  readonly sequence: NonceSequence;
  readonly from: NonceSequence;
  readonly change: DurableChange;
}

function targetOf(target: AdvanceParams['target'], before: bigint, now: bigint): bigint {
  switch (target.kind) {
    case 'to':
      return target.nonce;
    case 'by':
      return before + target.nonces;
    case 'now':
      return now;
  }
}
