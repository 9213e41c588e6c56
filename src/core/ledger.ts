import type { Clock } from '../clock.ts';
import { type Refusal, refusal } from '../errors.ts';
import { CeilingWriter, type ChangePlan, type Committed, type DurableChange } from './ceiling-writer.ts';
import type { Account } from './entities.ts';
import { NonceSequence, type Taken } from './nonce-sequence.ts';
import { type AccountPolicy, DEFAULT_SEQUENCE, type Policies } from './policies.ts';
import { countOfOperators, ownSequenceOf, planPolicies } from './policy-plan.ts';
import {
  type DurableState,
  type ExclusionPolicy,
  MOST_SEQUENCES,
  type Observer,
  type StateStore,
  type Unit,
} from './ports.ts';
import { CROWDED, exhaustedBy, notAbove, span } from './refusals.ts';
import { type AccountChange, Register } from './register.ts';
import {
  type ClockState,
  describeUnit,
  nonceFloorAt,
  nonceSpanMs,
  otherUnitOf,
  SequenceClock,
} from './sequence-clock.ts';

/** The sequence that tokens are drawn from. */
export const TOKEN_SEQUENCE = '#tokens';

/** A sequence this far ahead of the clock is worth a warning. */
const LEAD_WARNING_MS = 60_000;
/** While a write takes longer, the sequences go on inside their durable ceilings, without the clock. */
export const SLOW_WRITE_MS = 1_000;
/** A write that takes longer has met a disk that hangs. */
const HUNG_WRITE_MS = 10_000;

export interface AdvanceParams {
  /** Undefined: that of the account, or the default one. */
  readonly sequence?: string | undefined;
  /** The account is given a sequence of its own first. */
  readonly account?: string | undefined;
  readonly target:
    | { readonly kind: 'to'; readonly nonce: bigint }
    | { readonly kind: 'by'; readonly nonces: bigint }
    | { readonly kind: 'now' };
  readonly maxLeadMs: number;
}

export interface AdvancePlan {
  readonly sequence: NonceSequence;
  /** The lowest nonce that could have come next, and that which will. */
  readonly before: bigint;
  readonly after: bigint;
  readonly change: DurableChange;
}

/** Whether it is durable that an account draws from its sequence. */
export type Enlisting =
  | 'enlisted'
  /** Once the next write of the state is durable. */
  | 'under-way'
  /** More accounts than the state keeps apart. */
  | 'crowded';

export interface LedgerOptions {
  readonly clock: Clock;
  readonly bootId: string;
  readonly state: DurableState;
  readonly store: StateStore;
  readonly observer: Observer;
  readonly onWritten: (failure: Error | undefined) => void;
}

/** The sequences, the clock they follow, and the durable ceilings they stay below (I1, I2, I10). */
export class Ledger {
  readonly tokens: NonceSequence;
  readonly #clock: Clock;
  readonly #sequenceClock: SequenceClock;
  readonly #sequences: Map<string, NonceSequence>;
  readonly #register: Register;
  readonly #writer: CeilingWriter;
  readonly #observer: Observer;
  /** Sequences that were reported to be ahead of the clock. */
  readonly #ahead = new Set<NonceSequence>();
  #clockState: ClockState = 'followed';

  constructor(options: LedgerOptions) {
    const { clock, bootId, state } = options;
    this.#clock = clock;
    this.#observer = options.observer;
    this.#sequenceClock = new SequenceClock(clock, bootId, state);
    this.#sequences = new Map(
      Object.entries(state.sequences).map(([name, durable]) => [name, new NonceSequence(name, durable)] as const),
    );
    this.tokens = this.#sequence(TOKEN_SEQUENCE);
    this.#register = new Register(state.accounts);
    this.#writer = new CeilingWriter({
      ...options,
      sequenceClock: this.#sequenceClock,
      sequences: this.#sequences,
      register: this.#register,
      exclusive: state.exclusive,
      seenWallMs: state.seenWallMs,
    });
  }

  /** The exclusion policy that is durable. */
  get exclusive(): ExclusionPolicy {
    return this.#writer.exclusive;
  }

  /** Whether a plausible wall clock has been seen in this boot, or it is at least harmless. */
  get clockIsPlausible(): boolean {
    return this.#sequenceClock.anchor !== undefined || this.#sequenceClock.state !== 'not-followed';
  }

  /** Whether a write of the state has been under way for so long that the disk must be hung. */
  get isOverdue(): boolean {
    return this.#writingForMs() > HUNG_WRITE_MS;
  }

  /** When the write under way counts as slow, on the monotonic clock; undefined where none is under way. */
  get slowAtMs(): number | undefined {
    const sinceMs = this.#writer.writingSinceMs;
    return sinceMs === undefined ? undefined : sinceMs + SLOW_WRITE_MS;
  }

  open(): Promise<Error | undefined> {
    return this.#writer.open();
  }

  close(): Promise<Error | undefined> {
    return this.#writer.close();
  }

  /** Makes a change durable, as `CeilingWriter.commit`. */
  commit(plan: ChangePlan): Promise<Committed> {
    return this.#writer.commit(plan);
  }

  /** Accounts that an operator has stopped, in use or not. */
  paused(): string[] {
    return [...this.#register.accounts].filter(([, { paused }]) => paused).map(([name]) => name);
  }

  /** Whether the account has ever drawn from this state, as far as it knows. */
  isKnown(account: string): boolean {
    return this.#register.sequenceOf(account) !== undefined;
  }

  isPaused(account: string): boolean {
    return this.#register.isPaused(account);
  }

  /** The sequence of an account: that which it has drawn from, whatever its policy says since. */
  sequenceOf(account: string, policy: AccountPolicy): NonceSequence {
    const own = ownSequenceOf(account);
    // One that is there was made for it by an operator, also where a repair of the state has lost who draws from which.
    const isItsOwn = this.#sequences.has(own);
    return this.#sequence(this.#register.sequenceOf(account) ?? (isItsOwn ? own : policy.sequence));
  }

  /** I2: nothing may be drawn for an account before it is durable which sequence it draws from. */
  enlist(account: Account): Enlisting {
    const durable = this.#register.sequenceOf(account.name);
    if (durable !== undefined) account.sequence = this.#sequence(durable);
    account.enlisted = this.#register.allows(account.name, account.sequence.name);
    if (account.enlisted) return 'enlisted';
    if (!this.#register.enlist(account.name, account.sequence.name)) return 'crowded';
    this.#writer.request();
    return 'under-way';
  }

  /** Draws from `sequence`, and has its ceiling raised where it is time to. */
  take(sequence: NonceSequence, count: number): Taken {
    const floor = this.#floor(sequence.unit);
    const sparing = this.#writer.problem !== undefined || this.#clock.monotonicMs() >= (this.slowAtMs ?? Infinity);
    const taken = sequence.take(floor, count, sparing);
    if (sequence.wantsRaise) this.#writer.request();
    // Drawn at the clock, it is not ahead of it.
    if (taken.kind !== 'taken' || taken.nonce !== floor || this.#ahead.size > 0) this.#reportLead(sequence, floor);
    return taken;
  }

  /** A program has made nonces of its own up to now: whatever comes next lies above them. */
  liftToNow(sequence: NonceSequence): void {
    sequence.lift(this.#floor(sequence.unit));
    if (sequence.wantsRaise) this.#writer.request();
  }

  /** What an operator's request to raise a sequence comes to, or why it is refused. */
  planAdvance(params: AdvanceParams, policy: AccountPolicy): AdvancePlan | Refusal {
    const { account, target, maxLeadMs } = params;
    const owner = account === undefined ? undefined : this.#ownSequence(account, policy);
    if (owner !== undefined && 'code' in owner) return owner;
    const name = params.sequence ?? DEFAULT_SEQUENCE;
    const sequence = owner?.sequence ?? this.#sequences.get(name);
    if (sequence === undefined || sequence === this.tokens) {
      return refusal('BAD_REQUEST', `there is no sequence ${name}; \`nonced status\` lists them`);
    }
    const { unit } = sequence;
    const before = (owner?.from ?? sequence).last + 1n;
    const anchor = target.kind === 'now' ? this.#sequenceClock.anchorHere() : undefined;
    if (anchor !== undefined && unit === 'counter') {
      return refusal('BAD_REQUEST', `sequence ${sequence.name} is a counter and has no now; give a number`);
    }
    const next = targetOf(target, before, nonceFloorAt(anchor?.wallMs ?? 0, unit));
    const meant = target.kind === 'to' ? otherUnitOf(next, unit) : undefined;
    if (meant !== undefined) {
      return refusal(
        'BAD_REQUEST',
        `${next} is in ${describeUnit(meant)}, and sequence ${sequence.name} in ${describeUnit(unit)}; give one of as many digits`,
      );
    }
    if (account !== undefined && target.kind === 'to' && next < before) return notAbove(account, next, before - 1n);
    const leadMs = nonceSpanMs(next - this.#floor(unit), unit) ?? 0;
    if (leadMs > maxLeadMs) {
      return refusal(
        'BAD_REQUEST',
        `${next} is ${span(leadMs)} ahead of the clock, and that cannot be undone; ` +
          'if it is meant: --yes (up to 24 h) or --force (any distance); in the protocol, a higher maxLeadMs',
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

  /** What must become durable for other policies to hold, and what an operator should hear of it. */
  planPolicies(policies: Policies): { readonly change: DurableChange; readonly kept: readonly string[] } | Refusal {
    const plan = planPolicies(
      { sequences: this.#durableSequences(), accounts: this.#register.accounts },
      policies,
      (unit) => this.#floor(unit),
    );
    if ('problem' in plan) {
      const { problem, init } = plan;
      return refusal('BAD_REQUEST', init === undefined ? problem : `${problem}: nonced init ${init}`);
    }
    const added: NonceSequence[] = [];
    const limits = new Map<NonceSequence, bigint>();
    for (const [name, durable] of plan.sequences) {
      const known = this.#sequences.get(name);
      if (known === undefined) added.push(new NonceSequence(name, durable));
      else limits.set(known, durable.max);
    }
    const lifts = new Map<NonceSequence, bigint>();
    for (const sequence of [...this.#sequences.values(), ...added]) {
      const lift = plan.lifts.get(sequence.name);
      // A new one is written with a reserve of its own, so that its first nonce need not wait.
      if (lift !== undefined || added.includes(sequence)) lifts.set(sequence, lift ?? 0n);
    }
    return { change: { added, limits, lifts, accounts: plan.accounts }, kept: plan.kept };
  }

  /** The change that stops an account, or lets it go on. */
  planPause(account: string, paused: boolean): DurableChange {
    return { accounts: new Map([[account, { paused }]]) };
  }

  /** Accounts that waited to be enlisted under other policies do so anew. */
  forgetNewcomers(): void {
    this.#register.forgetNewcomers();
  }

  /** How far a sequence is ahead of the clock; negative when behind, undefined for a counter. */
  leadMs({ last, unit }: NonceSequence): number | undefined {
    return nonceSpanMs(last - nonceFloorAt(this.#sequenceClock.nowMs(), unit), unit);
  }

  /** How far the wall clock is ahead of the time that sequences follow; undefined where it is followed. */
  notFollowedMs(): number | undefined {
    return this.#sequenceClock.state === 'not-followed' ? this.#sequenceClock.offMs() : undefined;
  }

  status() {
    const wallMs = this.#sequenceClock.nowMs();
    const sequences = [...this.#sequences.values()].filter((sequence) => sequence !== this.tokens);
    return {
      sequences: sequences.map(({ name, unit, last, ceiling, issued }) => {
        const leadMs = nonceSpanMs(last - nonceFloorAt(wallMs, unit), unit);
        return { name, unit, last, ceiling, leadMs: leadMs === undefined ? null : Math.round(leadMs), issued };
      }),
      durability: {
        state: this.#durability(),
        problem: this.#writer.problem?.message ?? null,
        writes: this.#writer.writes,
      },
      clock: { state: this.#sequenceClock.state, offMs: Math.round(this.#sequenceClock.offMs()) },
    };
  }

  #durability(): 'durable' | 'slow' | 'retrying' {
    if (this.#writer.problem !== undefined) return 'retrying';
    return this.#writingForMs() >= SLOW_WRITE_MS ? 'slow' : 'durable';
  }

  #durableSequences() {
    return new Map([...this.#sequences].map(([name, sequence]) => [name, sequence.durable(sequence.ceiling)] as const));
  }

  /** The account's own sequence, with the change that gives it one where it has none yet. */
  #ownSequence(account: string, policy: AccountPolicy): OwnSequence | Refusal {
    const from = this.sequenceOf(account, policy);
    const mayHaveDrawn = this.#register.isCrowded && this.#register.sequenceOf(account) === undefined;
    // I2: it may have had nonces of the default sequence, and its own would not be above them.
    if (mayHaveDrawn && from.name !== DEFAULT_SEQUENCE) return CROWDED;
    const name = ownSequenceOf(account);
    if (from.name === name) return { sequence: from, from, change: {} };
    const accounts: ReadonlyMap<string, AccountChange> = new Map([[account, { sequence: name }]]);
    const known = this.#sequences.get(name);
    if (known !== undefined) return { sequence: known, from, change: { accounts } };
    if (countOfOperators(this.#sequences.keys()) >= MOST_SEQUENCES) {
      return refusal(
        'LIMIT',
        `there are ${MOST_SEQUENCES} sequences already, and none is ever deleted; advance the one it shares: \`nonced status\` names it`,
      );
    }
    const sequence = new NonceSequence(name, from.durable(from.ceiling));
    return { sequence, from, change: { accounts, added: [sequence] } };
  }

  #sequence(name: string): NonceSequence {
    const sequence = this.#sequences.get(name);
    if (sequence === undefined) throw new Error(`the state has no sequence ${name}`);
    return sequence;
  }

  #writingForMs(): number {
    const sinceMs = this.#writer.writingSinceMs;
    return sinceMs === undefined ? 0 : this.#clock.monotonicMs() - sinceMs;
  }

  #floor(unit: Unit): bigint {
    const nowMs = this.#sequenceClock.nowMs();
    if (this.#sequenceClock.state !== this.#clockState) {
      this.#clockState = this.#sequenceClock.state;
      this.#observer.clockChanged(this.#clockState, this.#sequenceClock.offMs());
    }
    return nonceFloorAt(nowMs, unit);
  }

  #reportLead(sequence: NonceSequence, floor: bigint): void {
    const leadMs = nonceSpanMs(sequence.last - floor, sequence.unit) ?? 0;
    if (leadMs <= LEAD_WARNING_MS) this.#ahead.delete(sequence);
    else if (!this.#ahead.has(sequence)) {
      this.#ahead.add(sequence);
      this.#observer.ahead(sequence.name, leadMs);
    }
  }
}

/** A sequence of one account alone, and that which the account has drawn from so far. */
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
