import { RETURN_MS } from '../../src/core/broker.ts';
import type { Grant, RequestId, Token } from '../../src/core/ports.ts';
import type { ExclusionPolicy, Priority } from '../../src/terms.ts';
import type { Bot, Machine, Sent } from './simulation.ts';

/** A timer that is due later is not that of a write which is tried again. */
const LONGEST_RETRY_MS = 5_000;

/** From then on a write under way is done without. */
const SLOW_WRITE_MS = 1_000;
const NS_PER_MS = 1_000_000n;
const RANK: Readonly<Record<Priority, number>> = { urgent: 0, normal: 1, background: 2 };
const DEFAULT_WAIT_MS: Readonly<Record<Priority, number>> = { urgent: 15_000, normal: 30_000, background: 30_000 };
/** What the least patient request gets for a write of the ceiling. */
const GRACE_MS = 1_500;

/** Cheaper than an assertion of the test framework, which would take most of the time here. */
function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`does not hold: ${what}`);
}

interface Waiting {
  readonly bot: Bot;
  readonly id: RequestId;
  readonly account: string;
  readonly priority: Priority;
  readonly arrival: number;
  readonly sinceMs: number;
  /** Not refused for its time before this, and answered by `latestMs`. */
  readonly dueMs: number;
  readonly latestMs: number;
}

interface Live {
  readonly token: Token;
  readonly account: string;
  readonly priority: Priority;
  readonly session: string | undefined;
  readonly grantedAtMs: number;
  ttlMs: number;
  /** Undefined after a restart until its holder has come back. */
  bot: Bot | undefined;
  expiresAtMs: number;
  closedUntilMs: number;
}

/** How the last grants of a lane went: for the share of the aged. */
interface LaneHistory {
  /** Whether each grant went ahead of its priority. */
  readonly aheadOfTurn: boolean[];
  passedOver: number;
}

/**
 * Judges a machine by what was asked and what was answered alone. It knows the rules and none of the broker's code:
 * its lanes, leases and queues are its own.
 */
export class Checker {
  readonly #machine: Machine;
  readonly #waiting = new Map<string, Waiting>();
  readonly #draws = new Map<string, { readonly bot: Bot; readonly id: RequestId; readonly lease: Token | undefined }>();
  readonly #answered = new Set<string>();
  readonly #live = new Map<Token, Live>();
  readonly #histories = new Map<string, LaneHistory>();
  readonly #botNumbers = new Map<Bot, number>();
  policy: ExclusionPolicy;
  #arrivals = 0;
  #lastNonce = -1n;
  #lastToken = 0;
  #issued = 0n;
  #crashes = 0n;
  #highestWallMs: number;
  #highestAdvance = 0n;
  #wallWasStepped = false;
  #allClosedUntilMs = 0;
  #preemptable: Waiting[] = [];
  #objection: unknown;
  grants = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.policy = machine.store.durable.exclusive;
    this.#highestWallMs = machine.clock.wallMs();
    machine.listen = (event) => {
      // Thrown here it would be lost, or stop the broker in the middle of something.
      try {
        this.#heard(event);
      } catch (error) {
        this.#objection ??= error;
      }
    };
  }

  get #nowMs(): number {
    return this.#machine.clock.monotonicMs();
  }

  #key(bot: Bot, id: RequestId): string {
    const number = this.#botNumbers.get(bot) ?? this.#botNumbers.size;
    this.#botNumbers.set(bot, number);
    return `${number}/${id}`;
  }

  #lane(account: string): string | undefined {
    return this.policy === 'off' ? undefined : this.policy === 'global' ? 'all' : account;
  }

  // What is asked. To be told before the broker is.

  asksAcquire(bot: Bot, id: RequestId, account: string, priority: Priority, waitMs: number | undefined): void {
    const wait = waitMs ?? DEFAULT_WAIT_MS[priority];
    const sinceMs = this.#nowMs;
    this.#waiting.set(this.#key(bot, id), {
      bot,
      id,
      account,
      priority,
      arrival: this.#arrivals++,
      sinceMs,
      dueMs: sinceMs + wait,
      latestMs: sinceMs + Math.max(wait, GRACE_MS),
    });
  }

  asksNonce(bot: Bot, id: RequestId, lease?: Token): void {
    this.#draws.set(this.#key(bot, id), { bot, id, lease });
  }

  // What was answered to calls that are answered at once.

  renewed(bot: Bot, token: Token, ttlMs: number | undefined, answer: unknown): void {
    const lease = this.#live.get(token);
    const isHolder = lease !== undefined && lease.bot === bot;
    // I5, I7: a lease that has not been ended can be renewed by its holder, and by no other client.
    check((typeof answer === 'number') === isHolder, 'I5, I7: renewed by its holder, and by nobody else');
    if (lease === undefined || !isHolder) return;
    lease.ttlMs = ttlMs ?? lease.ttlMs;
    check(answer === lease.ttlMs, 'renewed for the TTL that was asked for');
    lease.expiresAtMs = this.#nowMs + lease.ttlMs;
  }

  /** Returns what the release must answer. Call it before the release, which may grant the lane to the next. */
  releases(bot: Bot, token: Token): boolean {
    const isHolder = this.#live.get(token)?.bot === bot;
    if (isHolder) this.#live.delete(token);
    return isHolder;
  }

  disconnects(bot: Bot): void {
    for (const [key, waiting] of this.#waiting) if (waiting.bot === bot) this.#waiting.delete(key);
    for (const [key, draw] of this.#draws) if (draw.bot === bot) this.#draws.delete(key);
    for (const lease of this.#live.values()) if (lease.bot === bot) this.#live.delete(lease.token);
  }

  // What happens to the machine.

  timePasses(): void {
    this.#highestWallMs = Math.max(this.#highestWallMs, this.#machine.clock.wallMs());
  }

  wallSteps(): void {
    this.#wallWasStepped = true;
    this.timePasses();
  }

  advancesTo(nonce: bigint): void {
    if (nonce > this.#highestAdvance) this.#highestAdvance = nonce;
  }

  /** The daemon is gone, with its connections. */
  dies(keepsNotes: boolean): void {
    this.#crashes += 1n;
    this.#waiting.clear();
    this.#draws.clear();
    this.#histories.clear();
    if (!keepsNotes) this.#live.clear();
    for (const lease of this.#live.values()) {
      lease.bot = undefined;
      lease.closedUntilMs = Infinity;
    }
  }

  /** Another daemon can be reached from now on. */
  opens(damaged: boolean): void {
    this.policy = this.#machine.store.durable.exclusive;
    for (const lease of this.#live.values()) {
      lease.closedUntilMs = Math.min(lease.expiresAtMs, this.#nowMs + RETURN_MS);
    }
    this.#allClosedUntilMs = damaged ? this.#nowMs + RETURN_MS : 0;
  }

  /** I4, I5: a client is told of all leases of its session that are still closed for it, and of no other. */
  says(bot: Bot): void {
    const told = new Set(bot.resumed.map(({ token }) => token));
    for (const lease of this.#live.values()) {
      const isIts = lease.bot === undefined && lease.session !== undefined && lease.session === bot.session;
      // Past its time it may or may not have been given up yet.
      if (isIts && lease.closedUntilMs > this.#nowMs) check(told.has(lease.token), 'resumed');
      if (!told.has(lease.token)) continue;
      check(isIts, 'resumed by its own session');
      lease.bot = bot;
      told.delete(lease.token);
    }
    check(told.size === 0, 'I5: resumed only what was held');
  }

  // What the broker sends.

  #heard(event: Sent): void {
    // A switch is in effect for all that is sent after its write.
    this.switched();
    switch (event.kind) {
      case 'answer':
        this.#heardAnswer(event);
        break;
      case 'revoked':
        this.#heardRevoked(event.bot, event.token, event.reason);
        break;
      case 'struck':
        this.#heardStruck(event.token);
        break;
      case 'noted':
      case 'observed':
        break;
    }
  }

  #heardAnswer({ bot, id, answer }: Sent & { kind: 'answer' }): void {
    const key = this.#key(bot, id);
    check(!this.#answered.has(key), `one answer to ${key}`);
    this.#answered.add(key);
    const waiting = this.#waiting.get(key);
    const draw = this.#draws.get(key);
    check(waiting !== undefined || draw !== undefined, `answer to ${key}, which nobody waits for`);
    if (answer.kind === 'granted' && waiting !== undefined) this.#heardGrant(waiting, answer.grant);
    if (answer.kind === 'drawn') {
      if (draw?.lease !== undefined) check(this.#live.get(draw.lease)?.bot === bot, 'I5: next under a live lease');
      this.#heardNonce(answer.nonce, answer.count);
    }
    if (answer.kind === 'refused' && answer.refusal.code === 'WAIT_TIMEOUT') {
      const isDue = waiting !== undefined && waiting.dueMs <= this.#nowMs;
      check(isDue, 'no timeout before its time');
    }
    this.#waiting.delete(key);
    this.#draws.delete(key);
  }

  #heardNonce(nonce: bigint, count: number): void {
    const { store, clock } = this.#machine;
    const last = nonce + BigInt(count) - 1n;
    // I2, I3
    check(nonce > this.#lastNonce, `I2: ${nonce} after ${this.#lastNonce}`);
    // I1
    check(last < (store.acknowledged.sequences['default']?.ceiling ?? 0n), 'I1: below the durable ceiling');
    this.#lastNonce = last;
    this.#issued += BigInt(count);
    // I10: time, use, and a reserve. A crash skips what its process had put aside, which is a little more than its use.
    const fromTime = BigInt(this.#highestWallMs + 5_001) * NS_PER_MS;
    const base = fromTime > this.#highestAdvance ? fromTime : this.#highestAdvance;
    check(last <= base + 4n * this.#issued + (this.#crashes + 1n) * 2_000n, 'I10: not too far ahead');
    // I3: and not behind the clock either, if the clock is right and the disk can be written without delay.
    const isDiskWell = store.tookMs() < SLOW_WRITE_MS && this.#machine.broker.status().durability.state === 'durable';
    if (!this.#wallWasStepped && isDiskWell) {
      check(nonce > BigInt(clock.wallMs()) * NS_PER_MS, 'I3: drawn from the clock of now');
    }
  }

  #heardGrant(waiting: Waiting, grant: Grant): void {
    this.grants += 1;
    this.#heardNonce(grant.nonce, grant.count);
    // I5
    check(grant.token > this.#lastToken, 'I5: tokens grow');
    const { sequences } = this.#machine.store.acknowledged;
    check(BigInt(grant.token) < (sequences['#tokens']?.ceiling ?? 0n), 'I1: token below its ceiling');
    this.#lastToken = grant.token;
    const lane = this.#lane(waiting.account);
    if (lane !== undefined) {
      // I4
      check(this.#holders(lane).length === 0, 'I4: no live lease in the lane');
      check(this.#allClosedUntilMs <= this.#nowMs, 'I4: closed for damaged notes');
      this.#checkOrder(lane, waiting);
    }
    const note = this.#machine.notes.slots.get(grant.token);
    check(note?.account === waiting.account && note.requestId === waiting.id, 'I4: noted before it is sent');
    check(note?.expiresAtMs === this.#nowMs + grant.ttlMs, 'I7: noted with its end');
    this.#live.set(grant.token, {
      token: grant.token,
      account: waiting.account,
      priority: waiting.priority,
      session: waiting.bot.session,
      grantedAtMs: this.#nowMs,
      ttlMs: grant.ttlMs,
      bot: waiting.bot,
      expiresAtMs: this.#nowMs + grant.ttlMs,
      closedUntilMs: 0,
    });
  }

  #holders(lane: string): Live[] {
    return [...this.#live.values()].filter(({ account }) => this.#lane(account) === lane);
  }

  #inLine(lane: string): Waiting[] {
    return [...this.#waiting.values()].filter(({ account }) => this.#lane(account) === lane);
  }

  /** I6 */
  #checkOrder(lane: string, granted: Waiting): void {
    const line = this.#inLine(lane);
    const byPriority = line.toSorted((a, b) => RANK[a.priority] - RANK[b.priority] || a.arrival - b.arrival)[0];
    const oldest = line.toSorted((a, b) => a.arrival - b.arrival)[0];
    const history = this.#histories.get(lane) ?? { aheadOfTurn: [], passedOver: 0 };
    this.#histories.set(lane, history);
    const isAhead = granted !== byPriority;
    const hasAged = oldest !== undefined && this.#nowMs - oldest.sinceMs > 5_000;
    if (isAhead) {
      check(granted === oldest && hasAged, 'I6: ahead of its priority only as the oldest, aged one');
      check(!history.aheadOfTurn.slice(-7).includes(true), 'I6: at most one of eight ahead of its turn');
    }
    history.aheadOfTurn.push(isAhead);
    history.passedOver = hasAged && granted !== oldest ? history.passedOver + 1 : 0;
    check(history.passedOver <= 7, 'I6: the aged get their share');
  }

  #heardRevoked(bot: Bot, token: Token, reason: string): void {
    const lease = this.#live.get(token);
    check(lease?.bot === bot, 'revoked what it holds');
    if (lease === undefined) return;
    if (reason === 'expired') {
      // I7
      check(this.#nowMs >= lease.expiresAtMs, 'I7: not before its time');
    } else {
      check(lease.priority === 'background', 'I7: only a background lease is preempted');
      check(this.#nowMs - lease.grantedAtMs >= 3_000, 'I7: not preempted before three seconds');
      const lane = this.#lane(lease.account);
      const urgent = (lane === undefined ? [] : [...this.#inLine(lane), ...this.#preemptable]).some(
        ({ priority }) => priority === 'urgent',
      );
      check(urgent, 'preempted for an urgent waiter');
      // Several may be ended for one urgent waiter, which is granted before the rest of this step.
      if (lane !== undefined) this.#preemptable = this.#inLine(lane);
    }
    this.#live.delete(token);
  }

  /** A lease whose holder has not come back is given up without a word; only its note tells. */
  #heardStruck(token: Token): void {
    const lease = this.#live.get(token);
    if (lease === undefined || lease.bot !== undefined) return;
    const isOver = this.#nowMs >= lease.closedUntilMs || this.#nowMs >= lease.expiresAtMs;
    check(isOver, 'I4: not given up before its time');
    this.#live.delete(token);
  }

  /** A switch of the policy has become durable and is in effect from here on. */
  switched(): void {
    const now = this.#machine.store.acknowledged.exclusive;
    if (now === this.policy) return;
    this.policy = now;
    this.#histories.clear();
  }

  /** I8 and the deadlines: to be called when all that could go on has gone on. */
  atRest(): void {
    if (this.#objection !== undefined) throw this.#objection;
    this.#preemptable = [];
    const { broker, store, clock } = this.#machine;
    const overdue = broker.nextDueMs();
    // A stall: what is due is due until `expire` is called.
    if (overdue !== undefined && overdue <= this.#nowMs) return;
    const isWriting = store.pending !== undefined || (clock.nextInMs ?? Infinity) <= LONGEST_RETRY_MS;
    for (const waiting of this.#waiting.values()) {
      check(waiting.latestMs > this.#nowMs, 'a waiter is answered when its time is over');
      const lane = this.#lane(waiting.account);
      if (isWriting || this.#allClosedUntilMs > this.#nowMs) continue;
      check(lane !== undefined && this.#holders(lane).length > 0, 'I8: no free lane with a waiter');
    }
    if (!isWriting) check(this.#draws.size === 0, 'no bare nonce waits for nothing');
    for (const lease of this.#live.values()) {
      if (lease.bot === undefined) continue;
      check(lease.expiresAtMs > this.#nowMs, 'a lease ends when its time is over');
    }
    check(broker.status().totals.waiting === this.#waiting.size + this.#draws.size, 'nobody is lost or made up');
  }

  /** Nothing is left waiting once time has passed. */
  atEnd(): void {
    check(this.#waiting.size + this.#draws.size === 0, 'every request is answered');
  }
}
