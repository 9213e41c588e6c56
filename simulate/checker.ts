import { type ReadState, readState } from './durable-states.ts';
import type { History } from './history.ts';
import type { WireTap } from './network.ts';
import type { Fields, WireMessage } from './wire-reader.ts';

/** The part of an account's configuration that can be seen from outside. */
export interface AccountTerms {
  readonly exchange: string;
  readonly pacing: { readonly max: number; readonly perSecond: number } | undefined;
}

/** What the checker may look at besides the wires. */
export interface Ground {
  nowMs(): number;
  wallMs(): number;
  uptimeMs(): number;
  /** Returns everything that the state file might hold after a power cut at this instant. */
  possible(): readonly (Buffer | undefined)[];
  /** Whether the daemon runs and has caught up after a stall. */
  isDaemonRunning(): boolean;
  /**
   * Whether no step of the disk is under way, and none has failed for longer than the wait before it is tried again.
   */
  isDiskAtRest(): boolean;
  termsOf(account: string): AccountTerms;
  /** Where the configuration in the file puts an account, whether a daemon has read it or not. */
  sequenceInFile(account: string): string;
  /**
   * Whether anything besides the state shows an earlier daemon: a lock, a temporary file, notes of this boot, an
   * installation.
   */
  hasTraces(): boolean;
  machine(): string;
}

export class Violation extends Error {
  readonly invariant: string;

  constructor(invariant: string, what: string) {
    super(`${invariant}: ${what}`);
    this.invariant = invariant;
  }
}

/** How long the lane of a holder that does not come back stays closed. */
const RETURN_MS = 2_000;
/** How long even the least patient request waits for a write of the ceiling. */
const GRACE_MS = 1_500;
/** How late a timer may be. */
const TIMER_MS = 2;
const AGED_MS = 5_000;
/** How much rounding may add to a bucket. */
const TINY = 1e-6;
const REJECTIONS = 3;
const RECENT = 20;
const RECENT_REJECTIONS = 5;
const PROBE_MS = 60_000;
const URGENT_EVERY_MS = 10_000;
/**
 * The largest jump of the wall clock within one boot that is followed, and some milliseconds, as the clocks are not
 * read at the same instant.
 */
const FOLLOWED_MS = 3_600_005;
/** It may have been led ahead by so much of the time that has passed in this boot. */
const LED_SHARE = 1 / 24;
/** An earlier wall clock is not accepted at a first start. */
const RELEASED_MS = Date.UTC(2026, 10, 1);
/** In another boot, a wall clock this far past every time that was believed is not believed. */
const ABSURD_MS = 27 * 86_400_000;
const PREEMPT_MS = 3_000;
/** The wall clock is read in whole milliseconds. */
const ROUNDED_MS = 1;
const NS_PER_MS = 1_000_000n;
/** Stands for the sequence of an account that moves from one to another. */
const MOVING = 'moving';
const RANK: Readonly<Record<string, number>> = { urgent: 0, normal: 1, background: 2 };
const WAIT_MS: Readonly<Record<string, number>> = { urgent: 15_000, normal: 30_000, background: 30_000 };

interface Waiting {
  readonly connection: Connection;
  readonly id: unknown;
  readonly account: string;
  readonly priority: string;
  readonly count: number;
  readonly cost: number;
  readonly arrival: number;
  readonly sinceMs: number;
  readonly dueMs: number;
}

interface Draw {
  readonly connection: Connection;
  readonly id: unknown;
  readonly account: string | undefined;
  readonly token: bigint | undefined;
  readonly cost: number;
  readonly sinceMs: number;
}

/** What a call has added to the bucket of its account. */
interface Charge {
  readonly token: bigint;
  readonly cost: number;
  readonly atMs: number;
}

/** One connection of a client. */
interface Connection {
  readonly number: number;
  readonly role: 'bot' | 'admin';
  readonly client: string;
  session: string | undefined;
  /** Which process it is of, as far as it has told. */
  process: unknown;
  saidHello: boolean;
  isOpen: boolean;
  /** Requests that were read and not answered. */
  readonly open: Map<unknown, Waiting | Draw | Fields>;
  /** How many requests came under an id that was waiting already: they must be refused. */
  readonly twice: Map<unknown, number>;
  /** How many renewals of a token are in the daemon's buffer. */
  readonly unread: Map<bigint, number>;
}

interface Lease {
  readonly token: bigint;
  readonly account: string;
  readonly priority: string;
  readonly session: string | undefined;
  readonly grantedAtMs: number;
  /** The exchange that its call goes to. A daemon that has started since knows only the one that is configured now. */
  exchange: string;
  connection: Connection | undefined;
  expiresAtMs: number;
  /** When it may end instead, sooner or later, if a renewal has had no answer. */
  mayEndAtMs?: number | undefined;
  /** How long the lane stays closed if the holder does not come back after a restart. */
  closedUntilMs: number;
  /** Whether it is impossible to tell from outside if the lease has ended. */
  isDoubtful: boolean;
  /** Its further calls whose outcomes have not been reported, by nonce. */
  readonly reportable: Map<bigint, Pick<Lease, 'account' | 'grantedAtMs'>>;
}

interface Sent {
  /** Its place among everything that was sent in its turn. */
  readonly place: number;
  readonly connection: Connection;
  readonly message: WireMessage;
  readonly states: readonly ReadState[];
}

/** How a daemon ends: it has cleared up; it could not, perhaps in the middle of a turn; or the machine ended too. */
export type Ending = 'by itself' | 'killed' | 'killed in mid-turn' | 'power cut';

interface Death {
  readonly keepsNotes: boolean;
  /** Killed at one of its effects, in the middle of the turn. */
  readonly inMidTurn: boolean;
}

interface Drawn {
  readonly place: number;
  readonly connection: Connection;
  readonly account: string;
  readonly first: bigint;
  readonly last: bigint;
  readonly token: bigint | undefined;
  readonly states: readonly ReadState[];
}

/** What is known of an account's circuit breaker. */
interface Breaker {
  inARow: number;
  /** Whether each of the last calls was rejected. */
  recent: readonly boolean[];
  openedAtMs: number | undefined;
  urgentAtMs: number;
}

/** How the last grants of a lane went, for the share of the aged. */
interface LaneHistory {
  readonly aheadOfTurn: boolean[];
  passedOver: number;
}

/**
 * Judges a run by what went over the wires and what was durable at each instant. It knows the rules and shares no code
 * with the daemon: it reads the bytes itself, and has its own lanes, leases, queues and buckets.
 */
export class Checker implements WireTap {
  readonly #ground: Ground;
  readonly #history: History;
  readonly #connections = new Map<number, Connection>();
  readonly #live = new Map<bigint, Lease>();
  readonly #ended = new Set<bigint>();
  readonly #lastOfAccount = new Map<string, bigint>();
  readonly #lastOfSequence = new Map<string, bigint>();
  readonly #laneHistories = new Map<string, LaneHistory>();
  /** The exchange's own counters, and what each call will add to them. */
  readonly #counters = new Map<string, { level: number; atMs: number }>();
  readonly #costOf = new Map<string, number>();
  readonly #uncounted = new Set<string>();
  /** The processes that have told of a call without an answer. */
  readonly #unanswered = new Set<unknown>();
  readonly #breakers = new Map<string, Breaker>();
  /** Accounts whose breaker an operator may have closed at any time. */
  readonly #unjudged = new Set<string>();
  readonly #charges = new Map<string, Charge[]>();
  /** What was read and sent in this turn. */
  #reads: { connection: Connection; message: WireMessage }[] = [];
  #sents: Sent[] = [];
  #arrivals = 0;
  /** How many waiters had arrived when this turn began. */
  #turnArrivals = 0;
  /** How many switches of the policy are under way. After them the share of the aged is counted from zero. */
  #switches = 0;
  #endedNow: Lease[] = [];
  /** Leases that ran out, which their holders must know. */
  readonly #expired = new Set<bigint>();
  #lastToken = 0n;
  #phase: 'none' | 'open' | 'stopping' = 'none';
  #policy = 'global';
  #openedAtMs = 0;
  #closedUntilMs = 0;
  /** Until then damaged notes of leases are not held against the daemon. */
  #notesDoubtfulUntilMs = -1;
  #notesDamagedUntilMs = -1;
  #clockCountsFromMs = 0;
  #mayBeUnreadable = false;
  #states: readonly ReadState[] = [];
  #problem: string | undefined;
  #objection: Violation | undefined;
  /** How the daemon was ended in this turn. */
  #death: Death | undefined;
  /** A change of the policy is durable, but a stopped daemon does not know it yet. */
  #isPolicyUnsure = false;
  /** Why no daemon may serve from the state that the last one found. */
  #wrong: string | undefined;
  /** An account that the configuration which a starting daemon reads would move. */
  #misplaced: string | undefined;
  /** From which sequence each account has drawn, unless an operator has moved it since. */
  readonly #drawsFrom = new Map<string, string>();
  /** The state was gone when a daemon looked for it, and none was brought since. */
  #isLost = false;
  /** The state is older than what was sent. */
  #isSetBack = false;
  /** An older state that was put back, as the notes show. No daemon may serve from it. */
  #rolledBack: Buffer | undefined;
  /** Such a state, as long as a daemon runs that does not know of it. */
  #strange: Buffer | undefined;
  /** Only the clock has put the state above what was sent before. */
  #isAsGoodAsClock = false;
  /** Accounts that the exchange may reject, because the state that knew their nonces is gone for good. */
  readonly #forgotten = new Set<string>();
  /** There was never a state here, nor a daemon that could not clear up. */
  #isUntouched = true;
  #wasOff = false;
  #issued = 0n;
  #restarts = 0n;
  #highestWallMs: number;
  #advancedTo = 0n;
  #anchor: { readonly wallMs: number; readonly uptimeMs: number } | undefined;
  #isClockLoose = false;
  #wallWasStepped = false;
  #preemptable: Waiting[] = [];
  grants = 0;
  nonces = 0;
  readonly answers = new Map<string, number>();

  constructor(ground: Ground, history: History) {
    this.#ground = ground;
    this.#history = history;
    this.#highestWallMs = ground.wallMs();
  }

  // The wires.

  connected(number: number, role: 'bot' | 'admin', client: string): void {
    this.#history.note(`${client} connects`, { connection: number });
    this.#connections.set(number, {
      number,
      role,
      client,
      session: undefined,
      process: undefined,
      saidHello: false,
      isOpen: true,
      open: new Map(),
      twice: new Map(),
      unread: new Map(),
    });
  }

  arrived(number: number, message: WireMessage): void {
    const token = renewedBy(message);
    const unread = this.#connections.get(number)?.unread;
    if (token !== undefined) unread?.set(token, (unread.get(token) ?? 0) + 1);
  }

  read(number: number, message: WireMessage): void {
    const connection = this.#connection(number);
    const token = renewedBy(message);
    if (token !== undefined) connection.unread.set(token, Math.max(0, (connection.unread.get(token) ?? 0) - 1));
    this.#history.note(`${connection.client}#${number} asks`, message);
    this.#reads.push({ connection, message });
  }

  sent(number: number, message: WireMessage): void {
    const connection = this.#connection(number);
    this.#history.note(`${connection.client}#${number} is told`, message);
    const nonce = message.kind === 'answer' ? message.result['nonce'] : undefined;
    if (nonce !== undefined && this.#problem !== undefined) {
      // Not thrown here, in the middle of the daemon's code.
      this.#objection ??= new Violation('I1', `nonce ${nonce} is sent while ${this.#problem}`);
    }
    this.#sents.push({ place: this.#sents.length, connection, message, states: this.#states });
  }

  ended(number: number): void {
    const connection = this.#connection(number);
    if (!connection.isOpen) return;
    this.#history.note(`${connection.client}#${number} ends`);
    this.#closeConnection(connection);
  }

  // What happens to the machine.

  /** Takes in that what is or might be durable has changed. */
  diskChanged(): void {
    // What another program has put there binds the daemon that runs to nothing.
    if (this.#strange !== undefined && this.#ground.possible().includes(this.#strange)) return;
    this.#strange = undefined;
    const states: ReadState[] = [];
    this.#problem = undefined;
    for (const bytes of this.#ground.possible()) {
      const read = readState(bytes);
      if (typeof read !== 'string') states.push(read);
      // A state that cannot be read is refused, so no nonce goes back; but only a disk that lies may leave one.
      else if (read === 'absent' || !this.#mayBeUnreadable)
        this.#problem = `the state may be ${read} after a power cut`;
    }
    this.#states = states;
    const [policy, ...others] = new Set(states.map(({ exclusive }) => exclusive));
    if (this.#phase !== 'open' || policy === undefined || others.length > 0 || policy === this.#policy) return;
    this.#setPolicy(policy);
    this.#isPolicyUnsure = !this.#ground.isDaemonRunning();
  }

  #setPolicy(policy: string): void {
    this.#policy = policy;
    this.#wasOff ||= policy === 'off';
    this.#laneHistories.clear();
  }

  shortWrites(): void {
    this.#mayBeUnreadable = true;
    this.diskChanged();
  }

  /** Takes in that a note may be lost, or, if a byte of one in use was changed, that it is. */
  notesDamaged(how: 'perhaps' | 'for certain'): void {
    this.#notesDoubtfulUntilMs = this.#ground.nowMs() + 700_000;
    if (how === 'perhaps') return;
    // A clean stop without leases may have said so in its last write, unless it came while all lanes were closed.
    const mayBeNone =
      this.#phase === 'stopping' && this.#live.size === 0 && this.#closedUntilMs <= this.#ground.nowMs();
    if (mayBeNone) this.#notesDamagedUntilMs = -1;
    else this.#notesDamagedUntilMs = this.#ground.nowMs() + 600_000;
  }

  /** Takes in that the notes of accounts are lost. */
  breakersForgotten(): void {
    this.#breakers.clear();
  }

  /** Takes in that the daemon does not run for so long. For some time after it writes may count as slow. */
  stalled(ms: number): void {
    this.#clockCountsFromMs = Math.max(this.#clockCountsFromMs, this.#ground.nowMs() + ms + 2_000);
  }

  /** Takes in that a state was deleted. */
  stateLost(): void {
    this.#drawsFrom.clear();
    this.#isUntouched = false;
  }

  wallStepped(): void {
    this.#wallWasStepped = true;
    if (this.#isAsGoodAsClock) this.#forgetAll();
    // It is unknown whether the first daemon of this boot has looked at the clock already.
    if (this.#anchor === undefined) this.#isClockLoose = true;
  }

  /** I10: a wall clock over an hour ahead of where the time since boot puts it must not be followed. */
  timePassed(): void {
    const wallMs = this.#ground.wallMs();
    if (this.#anchor === undefined) {
      // The first daemon of this boot may look at the clock at any time, and believe it or not.
      if (wallMs < this.#highestWallMs + ABSURD_MS) this.#highestWallMs = Math.max(this.#highestWallMs, wallMs);
      return;
    }
    this.#highestWallMs = Math.max(this.#highestWallMs, Math.ceil(this.#believedMs()));
  }

  #believedMs(): number {
    const wallMs = this.#ground.wallMs();
    if (this.#anchor === undefined) return wallMs;
    const passedMs = this.#ground.uptimeMs() - this.#anchor.uptimeMs;
    const yardstickMs = this.#anchor.wallMs + passedMs * (1 + LED_SHARE);
    return wallMs - yardstickMs > FOLLOWED_MS ? yardstickMs : wallMs;
  }

  rebooted(): void {
    // The traces of a state that is gone may be gone too.
    this.#isLost = false;
    this.#anchor = undefined;
  }

  /** Takes in that it is unknown from here on how far the daemon may believe the clock. */
  clockIsLoose(): void {
    this.#isClockLoose = true;
  }

  /** Takes in that the daemon follows a configuration, which may be the same as before. */
  reconfigured(isOther: boolean): void {
    this.#laneHistories.clear();
    if (!isOther) return;
    this.#charges.clear();
    this.#counters.clear();
  }

  /** Takes in that the clock is set right; no daemon of this boot may have believed it before. */
  clockSetRight(): void {
    if (this.#anchor !== undefined) this.#wallWasStepped = true;
    if (this.#isAsGoodAsClock) this.#forgetAll();
  }

  /** Takes in that notes were deleted while no daemon ran. */
  notesGone(): void {
    if (this.#death !== undefined) this.#death = { ...this.#death, keepsNotes: false };
    for (const lease of this.#live.values()) this.#endLease(lease);
    this.#notesDamagedUntilMs = -1;
    this.#breakers.clear();
  }

  /**
   * Takes in that a state was made by hand, as the documents say. Its sequences go on at `floor` or at the clock, or,
   * with a floor of 0, where they were.
   */
  stateMadeByHand(floor: bigint): void {
    this.#drawsFrom.clear();
    if (floor > 0n) {
      if (floor > this.#advancedTo) this.#advancedTo = floor;
      this.#isSetBack = false;
      this.#isAsGoodAsClock = false;
    }
    // The clock counts from now, and with it the tokens.
    this.#anchor = undefined;
    if (this.#wallWasStepped) this.#lastToken = 0n;
  }

  /** Takes in that an operator has moved an account, whose next nonce is at least `next`. */
  accountMoved(account: string, next: bigint): void {
    this.#drawsFrom.delete(account);
    if (next > this.#advancedTo) this.#advancedTo = next;
  }

  /** Takes in that this older state was put back, and that notes of this boot show it; undefined: it was set right. */
  stateRolledBack(bytes: Buffer | undefined): void {
    this.#rolledBack = bytes;
    if (bytes === undefined || this.#phase === 'none') return;
    this.#strange = bytes;
    // What the daemon had put in place and not yet synced is durable for it once the directory is, whatever is there now.
    this.#states = this.#states.slice(-1);
  }

  /** Takes in that an old state of this machine was put back. */
  stateSetBack(): void {
    // Where there are no notes of holders, it does not say whether there were any.
    if (this.#notesDamagedUntilMs > this.#ground.nowMs()) this.notesGone();
    this.#drawsFrom.clear();
    this.#isSetBack = true;
    this.clockIsLoose();
  }

  /** The old state is as good as the clock: nonces that were ahead of it may come again. */
  #setBack(): void {
    const now = BigInt(Math.floor(this.#believedMs())) * NS_PER_MS;
    for (const [account, nonce] of this.#lastOfAccount) if (nonce > now) this.#forget(account);
    for (const [name, nonce] of this.#lastOfSequence) if (nonce > now) this.#lastOfSequence.delete(name);
    if (this.#lastToken * 1_000n > now) this.#lastToken = 0n;
    this.#isSetBack = false;
    this.#isAsGoodAsClock = true;
  }

  #forgetAll(): void {
    for (const account of this.#lastOfAccount.keys()) this.#forget(account);
    this.#lastOfSequence.clear();
    this.#lastToken = 0n;
  }

  /** Only the exchange knows any longer what the account has had. */
  #forget(account: string): void {
    this.#lastOfAccount.delete(account);
    this.#forgotten.add(account);
  }

  /** The highest nonce that was sent, above which a state that is made by hand must begin. */
  get highestNonce(): bigint {
    return [...this.#lastOfAccount.values(), ...this.#lastOfSequence.values()].reduce((a, b) => (a > b ? a : b), 0n);
  }

  /** I9: judges what the daemon is about to find, before the daemon does. */
  daemonStarts(bytes: Buffer | undefined, isDamaged: boolean): void {
    const state = readState(bytes);
    if (state !== 'absent') this.#isUntouched = false;
    this.#isLost = state === 'absent' && (this.#isLost || this.#ground.hasTraces());
    if (this.#isLost && this.#isUntouched) {
      this.#objection ??= new Violation('start', 'a first start that failed by itself has left traces of a state');
    }
    if (state === 'absent') {
      const isTooSoon = this.#ground.wallMs() < RELEASED_MS;
      this.#wrong = this.#isLost ? 'lost' : isTooSoon ? 'made by a clock from before the program' : undefined;
      if (!this.#isLost) this.#beginAnew();
    } else if (isDamaged || state === 'unreadable') this.#wrong = 'damaged';
    else if (state.isRetired) this.#wrong = 'retired';
    else if (bytes === this.#rolledBack) this.#wrong = 'rolled back';
    else this.#wrong = state.machine === this.#ground.machine() ? undefined : `of machine ${state.machine}`;
    this.#misplaced =
      typeof state === 'string'
        ? undefined
        : state.unplaced.find((account) => state.sequenceOf(account) !== this.#ground.sequenceInFile(account));
  }

  /** Without any trace of an earlier state, the first one succeeds none. */
  #beginAnew(): void {
    this.#forgetAll();
    // It cannot say that there were holders.
    this.notesGone();
    this.#isAsGoodAsClock = false;
    this.#highestWallMs = Math.max(this.#highestWallMs, this.#ground.wallMs());
    // It knows no other clock either.
    this.#anchor = undefined;
  }

  /** Takes in that a daemon refused to start; `isForGood` unless the cause may pass. */
  daemonRefused(isForGood: boolean): void {
    if (!isForGood || this.#wrong !== undefined || this.#misplaced !== undefined || this.#mayBeUnreadable) return;
    this.#objection ??= new Violation('start', 'a daemon refuses a state that is its own and whole');
  }

  daemonOpened(bytes: Buffer | undefined): void {
    this.#isUntouched = false;
    const nowMs = this.#ground.nowMs();
    const state = readState(bytes);
    // Not thrown here, in a promise of the host, where nothing would catch it.
    if (this.#wrong !== undefined || typeof state === 'string') {
      this.#objection ??= new Violation('I9', `a daemon serves although its state was ${this.#wrong ?? state}`);
      return;
    }
    if (this.#misplaced !== undefined) {
      this.#objection ??= new Violation(
        'I2',
        `a daemon serves with a configuration that would move ${this.#misplaced}`,
      );
      return;
    }
    this.#phase = 'open';
    // A clock that is behind is not a yardstick, and from outside it cannot be seen when it becomes one.
    if (this.#anchor === undefined && this.#ground.wallMs() < this.#highestWallMs - 60_000) this.#isClockLoose = true;
    if (this.#anchor === undefined && this.#ground.wallMs() > this.#highestWallMs + ABSURD_MS) {
      this.#objection ??= new Violation(
        'I10',
        'a daemon serves by a clock that is years ahead of every time that was believed',
      );
    }
    this.#anchor ??= { wallMs: this.#ground.wallMs(), uptimeMs: this.#ground.uptimeMs() };
    if (this.#isSetBack) this.#setBack();
    this.#openedAtMs = nowMs;
    for (const lease of this.#live.values()) lease.exchange = this.#ground.termsOf(lease.account).exchange;
    this.#setPolicy(state.exclusive);
    this.#isPolicyUnsure = false;
    this.#closedUntilMs = this.#notesDamagedUntilMs > nowMs ? nowMs + RETURN_MS : 0;
    for (const lease of this.#live.values()) {
      lease.closedUntilMs = Math.min(lease.expiresAtMs, nowMs + RETURN_MS);
    }
    this.#history.note('the daemon is open', { exclusive: this.#policy });
  }

  daemonStops(): void {
    this.#phase = 'stopping';
  }

  /** Takes in that the daemon is gone. A power cut also takes the notes, and every client that held a lease. */
  daemonDied(how: string, ending: Ending): void {
    this.#history.note(`the daemon is gone: ${how}`);
    this.#death = { keepsNotes: ending !== 'power cut', inMidTurn: ending === 'killed in mid-turn' };
    if (ending !== 'by itself') this.#isUntouched = false;
  }

  #bury({ keepsNotes, inMidTurn }: Death): void {
    this.#death = undefined;
    this.#phase = 'none';
    this.#strange = undefined;
    this.diskChanged();
    this.#switches = 0;
    this.#restarts += 1n;
    // What the calls under way had cost is not noted.
    this.#counters.clear();
    this.#costOf.clear();
    this.#laneHistories.clear();
    for (const connection of this.#connections.values()) connection.isOpen = false;
    this.#connections.clear();
    const nowMs = this.#ground.nowMs();
    // The daemon may have died before it could strike their notes.
    for (const lease of keepsNotes ? this.#endedNow : []) {
      this.#ended.delete(lease.token);
      this.#live.set(lease.token, { ...lease, isDoubtful: true });
    }
    for (const lease of this.#live.values()) {
      const isOver = lease.connection === undefined && lease.closedUntilMs <= nowMs;
      if (!keepsNotes) this.#endLease(lease);
      // The daemon had given it up without telling anyone, unless it had no time for that.
      else if (isOver || (inMidTurn && mayEndBy(lease, nowMs))) lease.isDoubtful = true;
      lease.closedUntilMs = Number.POSITIVE_INFINITY;
      lease.connection = undefined;
      // The next daemon does not know which calls there were.
      lease.reportable.clear();
    }
    if (keepsNotes) return;
    this.#notesDamagedUntilMs = -1;
    this.#breakers.clear();
  }

  /** Returns the tokens of live leases, for bots that try to steal them. */
  liveTokens(): bigint[] {
    return [...this.#live.keys()];
  }

  coverage(): ReadonlyMap<string, number> {
    return new Map([...this.answers, ['grants', this.grants], ['nonces', this.nonces]]);
  }

  /** Judges that a bot's library lets it begin a call: its lease must not have run out. */
  callBegins(bot: string, token: bigint): void {
    if (this.#expired.has(token)) {
      this.#objection ??= new Violation('client', `${bot} begins a call under ${token}, which has run out`);
    }
  }

  /** Judges that a call begins within the age that its bot has set for the decision to make it. */
  callBegun(ageMs: number, maxAgeMs = Number.POSITIVE_INFINITY): void {
    if (ageMs > maxAgeMs + ROUNDED_MS) {
      this.#objection ??= new Violation(
        'client',
        `a call begins ${ageMs} ms after it was wanted, of at most ${maxAgeMs}`,
      );
    }
  }

  /**
   * Judges the exchange's own counter when a call has arrived. However long each call took, calls that arrive within
   * their leases, one after the other, never pass the limit.
   */
  exchangeCounts(account: string, token: bigint, nonce: bigint): void {
    const { pacing } = this.#ground.termsOf(account);
    const nowMs = this.#ground.nowMs();
    const lease = this.#live.get(token);
    const call = `${account} ${nonce}`;
    const cost = this.#costOf.get(call);
    this.#costOf.delete(call);
    if (this.#wasOff || this.#uncounted.has(account)) return;
    if (pacing === undefined || cost === undefined || lease?.connection === undefined || lease.expiresAtMs <= nowMs)
      return;
    const level = this.#fill(this.#counters, account, cost, pacing.perSecond);
    if (cost > 0 && level > pacing.max + TINY) {
      this.#objection ??= new Violation(
        'pacing',
        `the exchange counts ${level.toFixed(3)} of ${pacing.max} for ${account}`,
      );
    }
  }

  /** Returns what a leaky bucket holds after one more call. */
  #fill(
    buckets: Map<string, { level: number; atMs: number }>,
    account: string,
    cost: number,
    perSecond: number,
  ): number {
    const nowMs = this.#ground.nowMs();
    const bucket = buckets.get(account) ?? { level: 0, atMs: nowMs };
    buckets.set(account, bucket);
    bucket.level = Math.max(0, bucket.level - ((nowMs - bucket.atMs) / 1000) * perSecond) + cost;
    bucket.atMs = nowMs;
    return bucket.level;
  }

  /** Judges that the exchange has rejected a call that was made under a lease. */
  exchangeRejected(account: string, token: bigint, nonce: bigint): void {
    const lease = this.#live.get(token);
    if (lease === undefined || this.#wasOff || this.#phase !== 'open' || this.#forgotten.has(account)) return;
    if (lease.expiresAtMs <= this.#ground.nowMs() || lease.connection === undefined) return;
    this.#objection ??= new Violation(
      'I4',
      `the exchange rejects ${nonce} of ${account} although its call came within its lease`,
    );
  }

  // A turn.

  endTurn(): void {
    if (this.#reads.length > 0 || this.#sents.length > 0) this.#judgeTurn();
    this.#preemptable = [];
    if (this.#objection !== undefined) throw this.#objection;
    if (this.#death !== undefined) this.#bury(this.#death);
    this.#endedNow = [];
    if (this.#phase !== 'open' || !this.#ground.isDaemonRunning()) return;
    this.#isPolicyUnsure = false;
    this.#atRest();
  }

  /** Judges that nothing is left waiting once time has passed. */
  atEnd(): void {
    for (const connection of this.#connections.values()) {
      if (connection.isOpen && connection.open.size > 0)
        throw new Violation('I8', `${connection.client} is never answered`);
    }
  }

  #judgeTurn(): void {
    this.#turnArrivals = this.#arrivals;
    const reads = this.#reads;
    const sents = this.#sents;
    this.#reads = [];
    this.#sents = [];
    const answered = new Map<Connection, Map<unknown, Sent[]>>();
    for (const sent of sents) {
      const { message, connection } = sent;
      this.#count(message);
      if (message.kind !== 'answer' && message.kind !== 'refusal') continue;
      const ofConnection = answered.get(connection) ?? new Map<unknown, Sent[]>();
      answered.set(connection, ofConnection);
      const ofId = ofConnection.get(message.id);
      if (ofId === undefined) ofConnection.set(message.id, [sent]);
      else ofId.push(sent);
    }
    const drawn: Drawn[] = [];
    const grants: { readonly waiting: Waiting; readonly sent: Sent }[] = [];
    // First the answers to what was asked before this turn: their cause is earlier than what is read in it.
    const before = new Set(
      sents.filter(({ connection, message }) => 'id' in message && connection.open.has(message.id)),
    );
    for (const { connection, message } of sents)
      if (message.kind === 'notification') this.#revoked(connection, message.params);
    const draws = sents.filter((sent) => before.has(sent) && isDrawn(sent));
    for (const sent of draws) this.#answered(sent, drawn, grants);
    for (const { connection, message } of reads) this.#readOne(connection, message, answered, drawn, grants);
    for (const sent of sents) {
      if (sent.message.kind === 'notification' || draws.includes(sent)) continue;
      this.#answered(sent, drawn, grants);
    }
    grants.sort((a, b) => (tokenOf(a.sent) < tokenOf(b.sent) ? -1 : 1));
    for (const { waiting, sent } of grants) this.#granted(waiting, sent, drawn);
    this.#judgeNonces(drawn);
  }

  #count(message: WireMessage): void {
    const kind = message.kind === 'refusal' ? message.code : message.kind === 'notification' ? 'revoked' : undefined;
    if (kind !== undefined) this.answers.set(kind, (this.answers.get(kind) ?? 0) + 1);
  }

  #readOne(
    connection: Connection,
    message: WireMessage,
    answered: ReadonlyMap<Connection, ReadonlyMap<unknown, readonly Sent[]>>,
    drawn: Drawn[],
    grants: { readonly waiting: Waiting; readonly sent: Sent }[],
  ): void {
    const nowMs = this.#ground.nowMs();
    if (message.kind === 'notification') {
      const { method, params } = message;
      if (method === 'release') this.#release(connection, params);
      if (method === 'report') this.#report(connection, params);
      if (method === 'cancel') {
        const waiting = connection.open.get(params['id']);
        const answer = answered.get(connection)?.get(params['id']);
        if (waiting !== undefined && answer === undefined && this.#isServing && connection.isOpen) {
          throw new Violation('I6', `${connection.client} cancels ${params['id']} and is not answered`);
        }
      }
      return;
    }
    if (message.kind !== 'request') return;
    const { id, method, params } = message;
    if (connection.open.has(id)) {
      connection.twice.set(id, (connection.twice.get(id) ?? 0) + 1);
      return;
    }
    const answer = answered.get(connection)?.get(id)?.[0];
    switch (method) {
      case 'hello':
        if (!connection.saidHello) {
          connection.session = params['session'] as string | undefined;
          connection.process = processOf(connection, params);
        }
        connection.open.set(id, { hello: !connection.saidHello });
        connection.saidHello = true;
        break;
      case 'acquire': {
        const priority = String(params['priority'] ?? 'normal');
        connection.open.set(id, {
          connection,
          id,
          account: String(params['account'] ?? 'default'),
          priority,
          count: Number(params['count'] ?? 1),
          cost: Number(params['cost'] ?? 1),
          arrival: this.#arrivals++,
          sinceMs: nowMs,
          dueMs: nowMs + Number(params['waitMs'] ?? WAIT_MS[priority]),
        } satisfies Waiting);
        break;
      }
      case 'nonce':
      case 'next': {
        const token = method === 'next' ? asBigint(params['token']) : undefined;
        const own = token === undefined ? 'default' : this.#live.get(token)?.account;
        connection.open.set(id, {
          connection,
          id,
          account: params['account'] === undefined ? own : String(params['account']),
          token,
          cost: Number(params['cost'] ?? 1),
          sinceMs: nowMs,
        } satisfies Draw);
        // Judged here, while its lease is as it was at the request: a release may follow in the same turn.
        if (answer !== undefined && isDrawn(answer)) this.#answered(answer, drawn, grants);
        break;
      }
      case 'renew':
        connection.open.set(id, { answered: true });
        this.#renewed(connection, params, answer);
        break;
      case 'release': {
        connection.open.set(id, { answered: true });
        const was = this.#release(connection, params);
        const said = answer?.message.kind === 'answer' ? answer.message.result['released'] : undefined;
        if (said !== undefined && said !== was) {
          throw new Violation(
            'I5',
            `${connection.client} is told released: ${said} of ${params['token']}, which it ${was ? 'held' : 'did not hold'}`,
          );
        }
        break;
      }
      case 'advance':
        connection.open.set(id, { admin: method });
        this.#advances(params);
        break;
      case 'set-exclusive':
        connection.open.set(id, { admin: method });
        this.#switches += 1;
        break;
      case 'resume-account':
        connection.open.set(id, { admin: method });
        // It takes effect when it is durable, whether or not the answer arrives.
        this.#unjudged.add(String(params['account']));
        break;
      default:
        connection.open.set(id, { admin: method });
    }
  }

  /** I10: takes in how far an operator may have raised a sequence. */
  #advances({ to, by }: Fields): void {
    const highest = [
      ...this.#lastOfSequence.values(),
      this.#advancedTo,
      BigInt(this.#highestWallMs + 5_001) * NS_PER_MS,
    ];
    const base = highest.reduce((a, b) => (a > b ? a : b));
    const target = by === undefined ? asBigint(to) : base + asBigint(by);
    if (target > this.#advancedTo) this.#advancedTo = target;
  }

  get #isServing(): boolean {
    return this.#phase === 'open' && this.#death === undefined;
  }

  #renewed(connection: Connection, params: Fields, answer: Sent | undefined): void {
    const lease = this.#live.get(asBigint(params['token']));
    const isHolder = lease !== undefined && lease.connection === connection;
    if (answer === undefined) {
      if (this.#isServing && connection.isOpen)
        throw new Violation('answers', `${connection.client} renews and gets no answer`);
      // The daemon died, and may have noted the renewal before.
      if (isHolder) lease.mayEndAtMs = this.#ground.nowMs() + Number(params['ttlMs'] ?? 0);
      return;
    }
    const { message } = answer;
    if (message.kind === 'refusal') {
      if (isHolder && message.code === 'LEASE_LOST')
        throw new Violation('I7', `the holder of ${lease.token} cannot renew it`);
      return;
    }
    if (message.kind !== 'answer') return;
    if (!isHolder) throw new Violation('I5', `${connection.client} renews ${params['token']}, which it does not hold`);
    lease.expiresAtMs = this.#ground.nowMs() + Number(message.result['ttlMs']);
    lease.mayEndAtMs = undefined;
  }

  /** Nothing was sent under the lease: its charges do not count, and neither does the probe that it was. */
  #giveBack({ account, token, grantedAtMs }: Lease): void {
    const charges = this.#charges.get(account) ?? [];
    this.#charges.set(
      account,
      charges.filter((charge) => charge.token !== token),
    );
    const breaker = this.#breakers.get(account);
    if (breaker?.urgentAtMs === grantedAtMs + URGENT_EVERY_MS) breaker.urgentAtMs = this.#ground.nowMs();
  }

  /** Ends the lease. Returns whether the connection held it. */
  #release(connection: Connection, { token, outcome }: Fields): boolean {
    const lease = this.#live.get(asBigint(token));
    if (lease === undefined || lease.connection !== connection) return false;
    this.#endLease(lease);
    if (outcome === 'unused') this.#giveBack(lease);
    this.#learn(connection, lease, outcome);
    return true;
  }

  /** Takes how one call under a lease ended. */
  #report(connection: Connection, { token, nonce, outcome }: Fields): void {
    const lease = this.#live.get(asBigint(token));
    const call = lease?.reportable.get(asBigint(nonce));
    if (lease?.connection !== connection || call === undefined) return;
    lease.reportable.delete(asBigint(nonce));
    this.#learn(connection, call, outcome);
  }

  #learn(
    connection: Connection,
    { account, grantedAtMs }: Pick<Lease, 'account' | 'grantedAtMs'>,
    outcome: unknown,
  ): void {
    if (outcome === 'unsettled' || outcome === 'unavailable') this.#unanswered.add(connection.process ?? connection);
    const breaker = this.#breakers.get(account) ?? { inARow: 0, recent: [], openedAtMs: undefined, urgentAtMs: 0 };
    this.#breakers.set(account, breaker);
    // The daemon may have died before it learned this.
    if (this.#death !== undefined || this.#notesDoubtfulUntilMs > this.#ground.nowMs()) this.#breakers.delete(account);
    if (outcome === 'unknown' || outcome === 'unused') return;
    const isRejected = outcome === 'invalid-nonce';
    breaker.recent = [...breaker.recent, isRejected].slice(-RECENT);
    if (outcome === 'ok') {
      breaker.inARow = 0;
      // A call from before it opened proves nothing.
      if (breaker.openedAtMs !== undefined && grantedAtMs >= breaker.openedAtMs) this.#breakers.delete(account);
    }
    if (!isRejected) return;
    breaker.inARow += 1;
    if (breaker.inARow >= REJECTIONS || breaker.recent.filter(Boolean).length >= RECENT_REJECTIONS)
      breaker.openedAtMs ??= this.#ground.nowMs();
  }

  /** One process that gets no answer is no reason to refuse another one. */
  #checkExchangeDown(connection: Connection): void {
    if (this.#unanswered.size > 1 || this.#unanswered.has(connection.process ?? connection)) return;
    throw new Violation('exchange', `${connection.client} is refused because another process alone gets no answer`);
  }

  /**
   * After three rejected nonces in a row, or five of twenty, only an urgent call every ten seconds passes for a minute.
   */
  #checkBreaker({ account, priority }: Waiting): void {
    const breaker = this.#breakers.get(account);
    const nowMs = this.#ground.nowMs();
    const openedAtMs = breaker?.openedAtMs;
    if (breaker === undefined || openedAtMs === undefined || this.#unjudged.has(account)) return;
    if (nowMs <= openedAtMs || nowMs >= openedAtMs + PROBE_MS) return;
    if (priority === 'urgent' && nowMs >= breaker.urgentAtMs) breaker.urgentAtMs = nowMs + URGENT_EVERY_MS;
    else throw new Violation('breaker', `${priority} of ${account} passes after too many rejected nonces`);
  }

  #answered(sent: Sent, drawn: Drawn[], grants: { readonly waiting: Waiting; readonly sent: Sent }[]): void {
    const { connection, message } = sent;
    if (message.kind !== 'answer' && message.kind !== 'refusal') return;
    const { id } = message;
    const asked = connection.open.get(id);
    if (asked === undefined) {
      // Judged already in this turn, where it was read; or an answer to bytes that were not a message.
      if (message.kind === 'refusal' && ['BAD_REQUEST', 'TOO_LARGE'].includes(message.code)) return;
      if (
        drawn.some(
          (one) => one.connection === connection && message.kind === 'answer' && one.first === message.result['nonce'],
        )
      )
        return;
      throw new Violation('answers', `${connection.client} is answered ${String(id)}, for which it does not wait`);
    }
    const twice = connection.twice.get(id) ?? 0;
    if (twice > 0 && message.kind === 'refusal' && message.code === 'BAD_REQUEST') {
      connection.twice.set(id, twice - 1);
      return;
    }
    connection.open.delete(id);
    if (message.kind === 'refusal' && message.code === 'EXCHANGE_DOWN') this.#checkExchangeDown(connection);
    const nowMs = this.#ground.nowMs();
    if (isWaiting(asked)) {
      if (message.kind === 'answer') grants.push({ waiting: asked, sent });
      else if (message.code === 'WAIT_TIMEOUT' && nowMs < asked.dueMs) {
        throw new Violation(
          'I8',
          `${connection.client} is told ${asked.dueMs - nowMs} ms too soon that it has waited too long`,
        );
      }
      return;
    }
    if (isDraw(asked)) {
      if (message.kind !== 'answer') return;
      let account = asked.account;
      if (asked.token !== undefined) {
        const lease = this.#live.get(asked.token);
        if (lease === undefined || lease.connection !== connection) {
          throw new Violation('I5', `${connection.client} draws under ${asked.token}, which it does not hold`);
        }
        account ??= lease.account;
        const other = this.#lane(account);
        if (other !== this.#lane(lease.account))
          throw new Violation('I4', `a nonce of ${account} is drawn under a lease of another lane`);
        this.#pace(account, asked.cost, asked.token);
        // Calls under one lease may overlap, and then the bucket promises less.
        this.#uncounted.add(account);
        lease.reportable.set(asBigint(message.result['nonce']), { account, grantedAtMs: nowMs });
      }
      drawn.push(this.#drawn(sent, account ?? 'default', message.result, undefined));
      return;
    }
    if ('admin' in asked && asked['admin'] === 'set-exclusive') {
      this.#switches -= 1;
      this.#laneHistories.clear();
    }
    if ('hello' in asked && message.kind === 'answer') this.#greeted(connection, message.result);
  }

  /** I4, I5: a client is told of all leases of its session whose lanes are still closed for it, and of no others. */
  #greeted(connection: Connection, result: Fields): void {
    const nowMs = this.#ground.nowMs();
    const isDoubtful = this.#notesDoubtfulUntilMs > nowMs;
    const held = (result['held'] ?? []) as readonly Fields[];
    const told = new Map(held.map((one) => [asBigint(one['token']), one]));
    this.#doubtPreempted();
    for (const lease of this.#live.values()) {
      const isIts =
        lease.connection === undefined && lease.session !== undefined && lease.session === connection.session;
      if (isIts && lease.closedUntilMs > nowMs && !told.has(lease.token) && !isDoubtful && !lease.isDoubtful) {
        throw new Violation(
          'I4',
          `${connection.client} comes back in time and is not told that it holds ${lease.token}`,
        );
      }
      const one = told.get(lease.token);
      if (one === undefined) continue;
      if (!isIts && !isDoubtful)
        throw new Violation('I5', `${connection.client} is told that it holds ${lease.token}, which is not its own`);
      lease.connection = connection;
      lease.isDoubtful = false;
      told.delete(lease.token);
    }
    for (const [token, one] of told) {
      // Or it was noted by a daemon that was killed before it could send the grant.
      if (this.#ended.has(token) && !isDoubtful)
        throw new Violation('I5', `${connection.client} is told that it holds ${token}, which has ended`);
      this.#noteToken(token);
      this.#live.set(token, {
        token,
        account: String(one['account']),
        priority: 'unknown',
        session: connection.session,
        grantedAtMs: nowMs,
        exchange: this.#ground.termsOf(String(one['account'])).exchange,
        connection,
        // The answer has whole milliseconds, rounded down.
        expiresAtMs: nowMs + Number(one['ttlMs']),
        closedUntilMs: 0,
        isDoubtful: false,
        reportable: new Map(),
      });
    }
  }

  #granted(waiting: Waiting, sent: Sent, drawn: Drawn[]): void {
    const { connection } = waiting;
    const { message, states } = sent;
    if (message.kind !== 'answer') return;
    const { result } = message;
    const nowMs = this.#ground.nowMs();
    const token = tokenOf(sent);
    this.grants += 1;
    if (token <= this.#lastToken) throw new Violation('I5', `token ${token} is granted after ${this.#lastToken}`);
    this.#noteToken(token);
    for (const state of states) {
      if ((state.ceilingOf.get('#tokens') ?? 0n) <= token)
        throw new Violation('I1', `token ${token} is not below a durable ceiling`);
    }
    this.#checkBreaker(waiting);
    const lane = this.#lane(waiting.account);
    if (lane !== undefined && !this.#isPolicyUnsure) {
      this.#checkFree(lane, waiting);
      this.#checkOrder(lane, waiting);
    }
    if (Number(result['waitedMs']) > nowMs - waiting.sinceMs + 1) {
      throw new Violation('answers', `a grant says that it was waited for longer than it was`);
    }
    this.#pace(waiting.account, waiting.cost, token);
    this.#costOf.set(`${waiting.account} ${result['nonce']}`, waiting.cost);
    drawn.push(this.#drawn(sent, waiting.account, result, token));
    this.#live.set(token, {
      token,
      account: waiting.account,
      priority: waiting.priority,
      session: connection.session,
      grantedAtMs: nowMs,
      exchange: this.#ground.termsOf(waiting.account).exchange,
      connection: connection.isOpen ? connection : undefined,
      expiresAtMs: nowMs + Number(result['ttlMs']),
      closedUntilMs: 0,
      isDoubtful: false,
      reportable: new Map(),
    });
  }

  #noteToken(token: bigint): void {
    if (token > this.#lastToken) this.#lastToken = token;
  }

  #drawn({ place, connection, states }: Sent, account: string, result: Fields, token: bigint | undefined): Drawn {
    const first = asBigint(result['nonce']);
    const count = Number(result['count']);
    this.nonces += count;
    return { place, connection, account, first, last: first + BigInt(count) - 1n, token, states };
  }

  #judgeNonces(drawn: readonly Drawn[]): void {
    if (drawn.length === 0) return;
    const nowMs = this.#ground.nowMs();
    const lastOfConnection = new Map<string, bigint>();
    const named = drawn.map((one) => ({ ...one, sequence: this.#sequenceOf(one) }));
    for (const { account, sequence } of named) this.#checkPlace(account, sequence);
    const settled = named.filter(({ sequence }) => sequence !== MOVING);
    for (const { connection, sequence, first, last } of settled.toSorted((a, b) => a.place - b.place)) {
      // On one connection nonces leave in the order in which they were drawn.
      const key = `${connection.number}/${sequence}`;
      if (first <= (lastOfConnection.get(key) ?? 0n))
        throw new Violation('I2', `nonces reach ${connection.client} in the wrong order`);
      lastOfConnection.set(key, last);
    }
    // I3: the grants of one turn, in the order of their tokens.
    const lastGranted = new Map<string, bigint>();
    for (const { token, sequence, first, last } of settled) {
      if (token === undefined) continue;
      if (first <= (lastGranted.get(sequence) ?? 0n))
        throw new Violation('I3', `nonce ${first} was drawn before its grant`);
      lastGranted.set(sequence, last);
    }
    named.sort((a, b) => (a.first < b.first ? -1 : 1));
    for (const { account, sequence, first, last, states } of named) {
      const ofAccount = this.#lastOfAccount.get(account) ?? -1n;
      if (first <= ofAccount) throw new Violation('I2', `account ${account} has had ${ofAccount} and gets ${first}`);
      const ofSequence = this.#lastOfSequence.get(sequence) ?? -1n;
      if (first <= ofSequence) {
        throw new Violation('I2', `sequence ${sequence} has given ${ofSequence} and now gives ${first}`);
      }
      this.#lastOfAccount.set(account, last);
      if (sequence !== MOVING) this.#lastOfSequence.set(sequence, last);
      for (const state of states) {
        const ceiling = state.ceilingOf.get(state.sequenceOf(account) ?? '') ?? 0n;
        if (last >= ceiling) {
          throw new Violation('I1', `nonce ${last} is sent, and the durable ceiling may be ${ceiling}`);
        }
      }
      this.#issued += last - first + 1n;
      this.#checkAllowance(last);
      const isClockRight = !this.#wallWasStepped && this.#ground.isDiskAtRest() && this.#phase === 'open';
      if (isClockRight && first <= BigInt(this.#ground.wallMs()) * NS_PER_MS && nowMs > this.#clockCountsFromMs) {
        throw new Violation('I3', `nonce ${first} was not drawn from the present clock`);
      }
    }
  }

  /** I2: nothing moves an account that has drawn but an operator, who may also give it a sequence of its own. */
  #checkPlace(account: string, sequence: string): void {
    const before = this.#drawsFrom.get(account);
    const isCommanded = sequence === MOVING || sequence === `account:${account}`;
    if (before !== undefined && before !== sequence && !isCommanded) {
      throw new Violation(
        'I2',
        `${account} has drawn from ${before}, draws from ${sequence}, and no operator has moved it`,
      );
    }
    if (sequence !== MOVING) this.#drawsFrom.set(account, sequence);
  }

  /**
   * I2: before an account draws, it is durable from which sequence, even if the power is cut. While it moves to another
   * it may be either; both must be above what it has had.
   */
  #sequenceOf({ account, states }: Drawn): string {
    const names = new Set(states.map((state) => state.sequenceOf(account)));
    const [name] = names;
    if (name === undefined || names.has(undefined)) {
      throw new Violation('I2', `${account} draws before it is durable from which sequence`);
    }
    return names.size === 1 ? name : MOVING;
  }

  /**
   * I10: time, use, and a reserve. A crash skips what its process had reserved, which is a little more than its use.
   */
  #checkAllowance(last: bigint): void {
    if (this.#isClockLoose) return;
    const fromTime = BigInt(this.#highestWallMs + 5_001) * NS_PER_MS;
    const base = fromTime > this.#advancedTo ? fromTime : this.#advancedTo;
    const allowed = base + 4n * this.#issued + (this.#restarts + 1n) * 6_000n;
    if (last > allowed) throw new Violation('I10', `nonce ${last} is ${last - allowed} above what time and use allow`);
  }

  #lane(account: string): string | undefined {
    if (this.#policy === 'off') return undefined;
    return this.#policy === 'account' ? `account ${account}` : `exchange ${this.#ground.termsOf(account).exchange}`;
  }

  #holders(lane: string): Lease[] {
    return [...this.#live.values()].filter((lease) => this.#lanesOf(lease).includes(lane));
  }

  /** Returns the lanes that a lease keeps closed: its account's, and that of the exchange which its call goes to. */
  #lanesOf({ account, exchange }: Lease): string[] {
    const lane = this.#lane(account);
    if (lane === undefined) return [];
    return this.#policy === 'global' ? [lane, `exchange ${exchange}`] : [lane];
  }

  *#waitingIn(lane: string | undefined): Iterable<Waiting> {
    for (const { open } of this.#connections.values()) {
      for (const one of open.values()) if (isWaiting(one) && this.#lane(one.account) === lane) yield one;
    }
  }

  /** I4: the lane of a grant must be free. */
  #checkFree(lane: string, { account, priority }: Waiting): void {
    const nowMs = this.#ground.nowMs();
    if (this.#closedUntilMs > nowMs)
      throw new Violation('I4', `${account} is granted while damaged notes keep all lanes closed`);
    for (const lease of this.#holders(lane)) {
      // The lane of a holder that did not come back opens without any message.
      const isOver = lease.closedUntilMs <= nowMs || lease.isDoubtful || isPreempted(lease, priority, nowMs);
      if (lease.connection === undefined && isOver) this.#endLease(lease);
      else
        throw new Violation('I4', `${account} is granted while ${lease.token} of ${lease.account} is live in its lane`);
    }
  }

  /** I6: a grant must be in order. */
  #checkOrder(lane: string, granted: Waiting): void {
    // Requests that were read later in this turn may have come after the grant.
    const queue = [...this.#waitingIn(lane)].filter(
      ({ arrival }) => arrival < this.#turnArrivals || arrival < granted.arrival,
    );
    for (const other of queue) {
      const isBehind =
        other.account === granted.account && other.priority === granted.priority && other.arrival < granted.arrival;
      if (isBehind) throw new Violation('I6', `${granted.account} is granted before an earlier request of its own`);
    }
    const isSimple = [granted, ...queue].every(({ account }) => this.#mayPass(account));
    if (!isSimple || this.#switches > 0) {
      this.#laneHistories.delete(lane);
      return;
    }
    const all = [granted, ...queue];
    const byTurn = all.reduce((a, b) => (inTurn(a, b) <= 0 ? a : b));
    const oldest = all.reduce((a, b) => (a.arrival < b.arrival ? a : b));
    const history = this.#laneHistories.get(lane) ?? { aheadOfTurn: [], passedOver: 0 };
    this.#laneHistories.set(lane, history);
    const hasAged = this.#ground.nowMs() - oldest.sinceMs > AGED_MS;
    const isAhead = granted !== byTurn;
    if (isAhead) {
      const why = `${granted.priority} of ${granted.account} before ${byTurn.priority} of ${byTurn.account}`;
      if (granted !== oldest || !hasAged) throw new Violation('I6', `${why}, which was next`);
      if (history.aheadOfTurn.slice(-7).includes(true)) throw new Violation('I6', `${why}: more than one of eight`);
    }
    history.aheadOfTurn.push(isAhead);
    history.passedOver = hasAged && granted !== oldest ? history.passedOver + 1 : 0;
    if (history.passedOver > 7)
      throw new Violation('I6', `the oldest in ${lane} is passed over ${history.passedOver} times`);
  }

  /** Whether only its lane may keep the account from being granted. */
  #mayPass(account: string): boolean {
    return (
      this.#ground.termsOf(account).pacing === undefined &&
      this.#states.every((state) => state.sequenceOf(account) !== undefined)
    );
  }

  /** In any window of t seconds at most max + perSecond × t may be used. */
  #pace(account: string, cost: number, token: bigint): void {
    const { pacing } = this.#ground.termsOf(account);
    if (pacing === undefined) return;
    const charges = this.#charges.get(account) ?? [];
    charges.push({ token, cost, atMs: this.#ground.nowMs() });
    const level = levelAfter(charges, pacing.perSecond);
    this.#charges.set(account, level > cost ? charges : charges.slice(-1));
    if (cost > 0 && level > pacing.max + TINY) {
      throw new Violation('pacing', `${account} comes to ${level.toFixed(3)} of ${pacing.max}`);
    }
  }

  #revoked(connection: Connection, params: Fields): void {
    const token = asBigint(params['token']);
    const lease = this.#live.get(token);
    const nowMs = this.#ground.nowMs();
    if (lease === undefined || lease.connection !== connection)
      throw new Violation('I5', `${connection.client} loses ${token}, which it does not hold`);
    if (params['reason'] === 'expired') {
      this.#expired.add(token);
      if (nowMs < Math.min(lease.expiresAtMs, lease.mayEndAtMs ?? Number.POSITIVE_INFINITY))
        throw new Violation('I7', `${token} ends ${lease.expiresAtMs - nowMs} ms before its time`);
      if ((connection.unread.get(token) ?? 0) > 0)
        throw new Violation('I7', `${token} ends although its renewal is unread`);
    } else {
      const heldMs = nowMs - lease.grantedAtMs;
      if (lease.priority !== 'background' && lease.priority !== 'unknown')
        throw new Violation('I7', `a ${lease.priority} lease is preempted`);
      if (heldMs < PREEMPT_MS && lease.priority !== 'unknown')
        throw new Violation('I7', `a lease is preempted after ${heldMs} ms`);
      const lanes = this.#lanesOf(lease);
      if (lanes.length === 0) throw new Violation('I7', 'a lease is preempted although nothing is exclusive');
      const waiting = lanes
        .flatMap((lane) => [...this.#waitingIn(lane)])
        .filter(({ priority }) => priority === 'urgent');
      this.#preemptable.push(...waiting);
      if (this.#preemptable.length === 0) throw new Violation('I7', 'a lease is preempted for no waiter');
    }
    this.#endLease(lease);
  }

  #endLease(lease: Lease): void {
    this.#live.delete(lease.token);
    this.#ended.add(lease.token);
    this.#endedNow.push(lease);
  }

  #closeConnection(connection: Connection): void {
    connection.isOpen = false;
    for (const [id, asked] of connection.open) if (!isDraw(asked)) connection.open.delete(id);
    // After a stop the leases cross to the next daemon.
    if (this.#phase !== 'open') return;
    for (const lease of this.#live.values()) if (lease.connection === connection) this.#endLease(lease);
  }

  /**
   * If an urgent call waits for the hung background lease of a holder that has not come back, its end is not announced.
   */
  #doubtPreempted(): void {
    for (const lease of this.#live.values()) {
      if (lease.connection !== undefined || !isPreempted(lease, 'urgent', this.#ground.nowMs())) continue;
      const waiting = this.#lanesOf(lease).flatMap((lane) => [...this.#waitingIn(lane)]);
      lease.isDoubtful ||= waiting.some(({ priority }) => priority === 'urgent');
    }
  }

  /** Judges I8 and the deadlines, once everything that could go on in this turn has gone on. */
  #atRest(): void {
    this.#doubtPreempted();
    const nowMs = this.#ground.nowMs();
    const isDiskAtRest = this.#ground.isDiskAtRest();
    for (const lease of this.#live.values()) {
      if (lease.connection !== undefined && nowMs > Math.max(lease.expiresAtMs, lease.mayEndAtMs ?? 0) + TIMER_MS) {
        throw new Violation('I7', `${lease.token} goes on after its time`);
      }
    }
    for (const connection of this.#connections.values()) {
      if (!connection.isOpen) continue;
      for (const asked of connection.open.values()) {
        if (isWaiting(asked)) this.#checkPatience(asked, nowMs, isDiskAtRest);
        else if (isDraw(asked) && isDiskAtRest && nowMs > asked.sinceMs + TIMER_MS) {
          throw new Violation('I8', `${connection.client} draws a nonce and waits for nothing`);
        }
      }
    }
  }

  #checkPatience(waiting: Waiting, nowMs: number, isDiskAtRest: boolean): void {
    const { account, connection } = waiting;
    if (nowMs > Math.max(waiting.dueMs, waiting.sinceMs + GRACE_MS) + TIMER_MS) {
      throw new Violation('I8', `${connection.client} waits for ${account} past its time`);
    }
    if (!isDiskAtRest || nowMs < this.#openedAtMs + RETURN_MS + TIMER_MS || nowMs < waiting.sinceMs + TIMER_MS) return;
    const lane = this.#lane(account);
    if (
      lane !== undefined &&
      this.#holders(lane).some((lease) => lease.connection !== undefined || lease.closedUntilMs + TIMER_MS > nowMs)
    )
      return;
    const { pacing } = this.#ground.termsOf(account);
    if (pacing === undefined)
      throw new Violation('I8', `${connection.client} waits for ${account}, whose lane is free`);
  }

  #connection(number: number): Connection {
    const connection = this.#connections.get(number);
    if (connection === undefined) throw new Violation('answers', `connection ${number} is of a daemon that is gone`);
    return connection;
  }
}

function inTurn(a: Waiting, b: Waiting): number {
  return (RANK[a.priority] ?? 0) - (RANK[b.priority] ?? 0) || a.arrival - b.arrival;
}

/**
 * Whether an urgent call ends the lease: a hung background lease, even if its holder has not come back and cannot be
 * told.
 */
function isPreempted(lease: Lease, by: string, nowMs: number): boolean {
  return by === 'urgent' && lease.priority === 'background' && nowMs - lease.grantedAtMs >= PREEMPT_MS;
}

/** Whether its end may have been noted, and not announced, before the daemon died. */
function mayEndBy({ priority, expiresAtMs }: Lease, nowMs: number): boolean {
  return priority === 'background' || priority === 'unknown' || expiresAtMs <= nowMs;
}

function isWaiting(asked: Waiting | Draw | Fields): asked is Waiting {
  return 'arrival' in asked;
}

function isDraw(asked: Waiting | Draw | Fields): asked is Draw {
  return 'connection' in asked && !('arrival' in asked);
}

/** Whether it is the answer to a `nonce` or a `next`. The answer to an `acquire` has a token. */
function isDrawn({ message }: Sent): boolean {
  return message.kind === 'answer' && 'nonce' in message.result && !('token' in message.result);
}

function tokenOf({ message }: Sent): bigint {
  return message.kind === 'answer' ? asBigint(message.result['token']) : 0n;
}

function renewedBy(message: WireMessage): bigint | undefined {
  return message.kind === 'request' && message.method === 'renew' ? asBigint(message.params['token']) : undefined;
}

function asBigint(value: unknown): bigint {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number' && Number.isInteger(value)) return BigInt(value);
  return typeof value === 'string' && /^\d+$/.test(value) ? BigInt(value) : -1n;
}

/** Returns what a leaky bucket holds after these charges, which are in the order of their times. */
function levelAfter(charges: readonly Charge[], perSecond: number): number {
  let [level, fromMs] = [0, 0];
  for (const { atMs, cost } of charges) {
    level = Math.max(0, level - ((atMs - fromMs) / 1000) * perSecond) + cost;
    fromMs = atMs;
  }
  return level;
}

/** By its pid and its name, because programs in two containers may have the same pid. */
function processOf(connection: Connection, { name, pid }: Fields): unknown {
  return name === undefined && pid === undefined ? connection : `${String(pid)} ${String(name)}`;
}
