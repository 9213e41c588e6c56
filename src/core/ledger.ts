import type { Clock } from '../clock.ts';
import { type Refusal, refusal } from '../errors.ts';
import { CeilingWriter, type DurableChange } from './ceiling-writer.ts';
import { NonceSequence, type Taken } from './nonce-sequence.ts';
import type { DurableState, ExclusionPolicy, Observer, StateStore, Unit } from './ports.ts';
import { exhaustedBy, seconds } from './refusals.ts';
import {
  type ClockState,
  describeUnit,
  nonceFloorAt,
  nonceSpanMs,
  otherUnitOf,
  SequenceClock,
} from './sequence-clock.ts';

/** The sequence that all accounts draw from, and the one that tokens are drawn from. */
export const DEFAULT_SEQUENCE = 'default';
export const TOKEN_SEQUENCE = '#tokens';

/** A sequence this far ahead of the clock is worth a warning. */
const LEAD_WARNING_MS = 60_000;
/** While a write takes longer, the sequences go on inside their durable ceilings, without the clock. */
export const SLOW_WRITE_MS = 1_000;
/** A write that takes longer has met a disk that hangs. */
const HUNG_WRITE_MS = 10_000;

export interface AdvanceParams {
  readonly sequence: string;
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
  readonly defaultSequence: NonceSequence;
  readonly #clock: Clock;
  readonly #sequenceClock: SequenceClock;
  readonly #sequences: ReadonlyMap<string, NonceSequence>;
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
    this.defaultSequence = this.#sequence(DEFAULT_SEQUENCE);
    this.#writer = new CeilingWriter({
      ...options,
      sequenceClock: this.#sequenceClock,
      sequences: this.#sequences,
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

  commit(change: DurableChange): Promise<Error | undefined> {
    return this.#writer.commit(change);
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
  planAdvance({ sequence: name, target, maxLeadMs }: AdvanceParams): AdvancePlan | Refusal {
    const sequence = this.#sequences.get(name);
    if (sequence === undefined || sequence === this.tokens) {
      return refusal('BAD_REQUEST', `there is no sequence ${name}; \`nonced status\` lists them`);
    }
    const { unit } = sequence;
    const before = sequence.last + 1n;
    const anchor = target.kind === 'now' ? this.#sequenceClock.anchorHere() : undefined;
    if (anchor !== undefined && unit === 'counter') {
      return refusal('BAD_REQUEST', `sequence ${name} is a counter and has no now; give a number`);
    }
    const next = targetOf(target, before, nonceFloorAt(anchor?.wallMs ?? 0, unit));
    if (next > sequence.max) return exhaustedBy(sequence, next);
    const meant = target.kind === 'to' ? otherUnitOf(next, unit) : undefined;
    if (meant !== undefined) {
      return refusal(
        'BAD_REQUEST',
        `${next} is in ${describeUnit(meant)}, and sequence ${name} in ${describeUnit(unit)}`,
      );
    }
    const leadMs = nonceSpanMs(next - this.#floor(unit), unit) ?? 0;
    if (leadMs > maxLeadMs) {
      return refusal(
        'BAD_REQUEST',
        `${next} is ${seconds(leadMs)} ahead of the clock, and that cannot be undone; ` +
          'to go on all the same: a higher maxLeadMs (nonced advance: --yes up to 24 h, --force any distance)',
      );
    }
    const change = anchor === undefined ? { lift: { sequence, next } } : { lift: { sequence, next }, anchor };
    return { sequence, before, after: next > before ? next : before, change };
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
