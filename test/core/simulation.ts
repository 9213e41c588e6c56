import type { Clock } from '../../src/clock.ts';
import { NO_POLICIES, type Policies } from '../../src/core/accounts/policies.ts';
import { type AcquireParams, Broker, DEFAULT_LIMITS, type Limits, type Resumed } from '../../src/core/broker.ts';
import type { NextParams } from '../../src/core/leases/admission.ts';
import type { Client } from '../../src/core/leases/lease.ts';
import { nonceFloorAt } from '../../src/core/nonces/sequence-clock.ts';
import { startingState } from '../../src/core/operator/policy-plan.ts';
import type {
  AccountNotes,
  BrokerEvent,
  DurableState,
  Grant,
  LeaseNotes,
  Nonce,
  NotedAccount,
  NotedLease,
  Observer,
  Peer,
  RequestId,
  StateStore,
  StoreFailure,
  Token,
} from '../../src/core/ports.ts';
import type { ErrorCode, Refusal } from '../../src/errors.ts';
import type { ExclusionPolicy, Outcome, RevokeReason, Unit } from '../../src/terms.ts';
import { VirtualClock } from '../fixtures/virtual-clock.ts';

/** Lets everything go on that waits for a promise only. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 16; turn += 1) await null;
}

export const MAX_NONCE = 2n ** 63n - 1n;

/** What a first start begins with. */
export function freshState(wallMs: number, unit: Unit = 'ns', exclusive: ExclusionPolicy = 'global'): DurableState {
  return {
    sequences: {
      default: { unit, ceiling: nonceFloorAt(wallMs, unit), max: MAX_NONCE },
      '#tokens': { unit: 'us', ceiling: nonceFloorAt(wallMs, 'us'), max: 2n ** 53n - 1n },
    },
    // All accounts have drawn already, so that the first grant of an account waits for no write.
    accounts: new Map([['*', { sequence: 'default', paused: false }]]),
    exclusive,
    anchor: undefined,
    seenWallMs: wallMs,
  };
}

/** The disk: its content, and writes that settle at once or when a test says so. */
export class SimulatedStore implements StateStore {
  durable: DurableState;
  /** What the broker has been told is durable: nothing above it may be used (I1). */
  acknowledged: DurableState;
  /** Holds writes until `land` or `fail`. */
  held = false;
  /** Fails every write while it is set. */
  failing: StoreFailure | undefined;
  writes = 0;
  /** How long the write under way, or else the last one, has taken. */
  tookMs = (): number => 0;
  readonly #clock: Clock;
  pending: { state: DurableState; settle: (failure: StoreFailure | undefined) => void } | undefined;
  #isDead = false;

  constructor(durable: DurableState, clock: Clock) {
    this.#clock = clock;
    this.durable = durable;
    this.acknowledged = durable;
  }

  write(state: DurableState): Promise<StoreFailure | undefined> {
    if (this.#isDead) return new Promise(() => {});
    if (this.pending !== undefined) throw new Error('two writes at once');
    this.writes += 1;
    const beganAtMs = this.#clock.monotonicMs();
    this.tookMs = () => this.#clock.monotonicMs() - beganAtMs;
    return new Promise((settle) => {
      const pending = { state, settle };
      this.pending = pending;
      if (this.held) return;
      // Never in the same turn of the event loop: nothing that the broker does until then may rely on it.
      queueMicrotask(() => {
        if (this.pending === pending) this.settle();
      });
    });
  }

  /** Settles the write under way, by `failing`. */
  settle(): void {
    if (this.failing === undefined) this.land();
    else this.fail(this.failing);
  }

  land(): void {
    const { pending } = this;
    if (pending === undefined) return;
    this.#stopTiming();
    this.durable = pending.state;
    this.acknowledged = pending.state;
    pending.settle(undefined);
  }

  fail(failure: StoreFailure): void {
    const { pending } = this;
    if (pending === undefined) return;
    this.#stopTiming();
    pending.settle(failure);
  }

  #stopTiming(): void {
    this.pending = undefined;
    const tookMs = this.tookMs();
    this.tookMs = () => tookMs;
  }

  /** Kills the process. A write under way may have landed unnoticed. */
  die(lands: boolean): void {
    if (lands && this.pending !== undefined) this.durable = this.pending.state;
    this.pending = undefined;
    this.#isDead = true;
  }
}

export const noSpace = (): StoreFailure => ({ kind: 'retriable', error: new Error('ENOSPC: no space left on device') });
export const ioError = (): StoreFailure => ({ kind: 'fatal', error: new Error('EIO: i/o error, fsync') });

export type Answer =
  | { readonly kind: 'granted'; readonly grant: Grant }
  | { readonly kind: 'drawn'; readonly nonce: Nonce; readonly count: number }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** Everything that left the broker, in order. */
export type Sent =
  | { readonly kind: 'answer'; readonly bot: Bot; readonly id: RequestId; readonly answer: Answer }
  | { readonly kind: 'revoked'; readonly bot: Bot; readonly token: Token; readonly reason: RevokeReason }
  | { readonly kind: 'noted'; readonly lease: NotedLease }
  | { readonly kind: 'struck'; readonly token: Token }
  | { readonly kind: 'observed'; readonly what: BrokerEvent['kind'] | 'failed' };

/** The file of notes: it outlives a daemon, and a reboot empties it. */
export class SimulatedNotes implements LeaseNotes {
  capacity = 4096;
  fails = false;
  readonly slots = new Map<Token, NotedLease>();
  readonly #sent: (event: Sent) => void;

  constructor(sent: (event: Sent) => void) {
    this.#sent = sent;
  }

  note(lease: NotedLease): void {
    if (this.fails) throw new Error('a note was cut short');
    if (!this.slots.has(lease.token) && this.slots.size >= this.capacity) throw new Error('all slots are in use');
    this.slots.set(lease.token, { ...lease });
    this.#sent({ kind: 'noted', lease });
  }

  strike(token: Token): void {
    if (this.fails) throw new Error('a note was cut short');
    if (this.slots.delete(token)) this.#sent({ kind: 'struck', token });
  }
}

/** What is noted of accounts; it outlives a daemon as the notes of leases do. */
export class SimulatedAccountNotes implements AccountNotes {
  capacity = 1024;
  fails = false;
  readonly slots = new Map<string, NotedAccount>();

  note(account: NotedAccount): void {
    if (this.fails) throw new Error('a note was cut short');
    if (!this.slots.has(account.account) && this.slots.size >= this.capacity) throw new Error('all slots are in use');
    this.slots.set(account.account, account);
  }

  strike(account: string): void {
    if (this.fails) throw new Error('a note was cut short');
    this.slots.delete(account);
  }
}

/** A connection of a client, and what it has heard. */
export class Bot implements Peer {
  readonly name: string;
  readonly session: string | undefined;
  readonly client: Client;
  readonly resumed: readonly Resumed[];
  readonly answers = new Map<RequestId, Answer[]>();
  readonly revokedTokens: { token: Token; reason: RevokeReason }[] = [];
  readonly #machine: Machine;
  readonly #broker: Broker;
  #ids = 0;

  constructor(machine: Machine, name: string, session: string | undefined) {
    this.#machine = machine;
    this.#broker = machine.broker;
    this.name = name;
    this.session = session;
    this.client = this.#broker.connect(this);
    this.resumed = this.#broker.hello(this.client, name, 4711, session);
  }

  acquire(params: Partial<AcquireParams> = {}, id: RequestId = ++this.#ids): RequestId {
    this.#broker.acquire(this.client, id, acquireParams(params));
    return id;
  }

  nonce(account = 'MASTER', count = 1, id: RequestId = ++this.#ids): RequestId {
    this.#broker.nonce(this.client, id, account, count);
    return id;
  }

  next(
    token: Token,
    account?: string,
    count = 1,
    id: RequestId = ++this.#ids,
    cost = 1,
    told: Partial<NextParams> = {},
  ): RequestId {
    this.#broker.next(this.client, id, { token, account, cost, count, key: undefined, unit: undefined, ...told });
    return id;
  }

  renew(token: Token, ttlMs?: number): number | Refusal {
    return this.#broker.renew(this.client, token, ttlMs);
  }

  report(token: Token, nonce: bigint, outcome: Outcome): boolean {
    return this.#broker.report(this.client, token, nonce, outcome);
  }

  release(token: Token, usedOwnClock = false, outcome: Outcome = 'ok'): boolean {
    return this.#broker.release(this.client, token, outcome, usedOwnClock);
  }

  cancel(id: RequestId): void {
    this.#broker.cancel(this.client, id);
  }

  disconnect(): void {
    this.#broker.disconnect(this.client);
  }

  /** The one answer to a request; undefined while there is none. */
  answer(id: RequestId): Answer | undefined {
    const answers = this.answers.get(id) ?? [];
    if (answers.length > 1) throw new Error(`request ${id} was answered ${answers.length} times`);
    return answers[0];
  }

  /** Returns what the request was granted. Throws if it was not. */
  grant(id: RequestId): Grant {
    const answer = this.answer(id);
    if (answer?.kind !== 'granted') throw new Error(`request ${id} was not granted: ${describe(answer)}`);
    return answer.grant;
  }

  drawn(id: RequestId, nonce: Nonce, count: number): void {
    this.#hear(id, { kind: 'drawn', nonce, count });
  }

  granted(id: RequestId, grant: Grant): void {
    this.#hear(id, { kind: 'granted', grant });
  }

  refused(id: RequestId, refusal: Refusal): void {
    this.#hear(id, { kind: 'refused', refusal });
  }

  revoked(token: Token, reason: RevokeReason): void {
    this.revokedTokens.push({ token, reason });
    this.#machine.hear({ kind: 'revoked', bot: this, token, reason });
  }

  /** Returns the nonce that the request was answered with. Throws if it was not. */
  drew(id: RequestId): Nonce {
    const answer = this.answer(id);
    if (answer?.kind !== 'drawn') throw new Error(`request ${id} drew nothing: ${describe(answer)}`);
    return answer.nonce;
  }

  /** Returns the code that the request was refused with; undefined if it was answered otherwise or not at all. */
  code(id: RequestId): ErrorCode | undefined {
    const answer = this.answer(id);
    return answer?.kind === 'refused' ? answer.refusal.code : undefined;
  }

  #hear(id: RequestId, answer: Answer): void {
    const answers = this.answers.get(id);
    if (answers === undefined) this.answers.set(id, [answer]);
    else answers.push(answer);
    this.#machine.hear({ kind: 'answer', bot: this, id, answer });
  }
}

export function acquireParams(params: Partial<AcquireParams> = {}): AcquireParams {
  return {
    account: 'MASTER',
    key: undefined,
    unit: undefined,
    priority: 'normal',
    cost: 1,
    ttlMs: undefined,
    waitMs: undefined,
    label: undefined,
    count: 1,
    within: [],
    ...params,
  };
}

const describe = (answer: Answer | undefined): string =>
  answer === undefined ? 'no answer' : answer.kind === 'refused' ? answer.refusal.code : answer.kind;

export interface MachineOptions {
  readonly unit?: Unit;
  readonly exclusive?: ExclusionPolicy;
  readonly state?: DurableState;
  readonly limits?: Partial<Limits>;
  readonly policies?: Policies;
}

/** A host: its clock, its disk, its memory file system, and the daemon that runs on it or not. */
export class Machine {
  readonly clock = new VirtualClock();
  readonly notes: SimulatedNotes;
  readonly accountNotes = new SimulatedAccountNotes();
  readonly sent: Sent[] = [];
  readonly limits: Limits;
  /** Called for everything that leaves the broker, at that moment. */
  listen: (event: Sent) => void = () => {};
  store: SimulatedStore;
  broker!: Broker;
  bootId = 'boot-0';
  foundDamaged = false;
  /** Whether the notes of accounts are known to be all there are. */
  accountsComplete = true;
  policies: Policies;
  /** When `expire` is called next: by what the broker has announced, and not by asking it, as the daemon does. */
  #dueMs = Infinity;
  #boots = 0;
  /** What the broker has remembered as refused, and not told yet. */
  #traced: string | undefined;

  private constructor(options: MachineOptions) {
    this.notes = new SimulatedNotes((event) => this.hear(event));
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    const { unit, exclusive } = options;
    this.policies = options.policies ?? NO_POLICIES;
    this.store = new SimulatedStore(options.state ?? freshState(this.clock.wallMs(), unit, exclusive), this.clock);
  }

  /** A machine with a state on its disk and no daemon yet. */
  static unstarted(options: MachineOptions = {}): Machine {
    return new Machine(options);
  }

  static async started(options: MachineOptions = {}): Promise<Machine> {
    const machine = new Machine(options);
    await machine.start();
    return machine;
  }

  /** Starts a daemon on what is durable and noted. */
  async start(): Promise<void> {
    const failure = await this.startUnopened();
    if (failure !== undefined) throw failure;
    this.broker.open();
  }

  /** Starts a daemon as far as its first write, which fails with `failing`. */
  async startUnopened(failing?: StoreFailure): Promise<Error | undefined> {
    const { held, failing: failingLater } = this.store;
    const store = new SimulatedStore(this.store.durable, this.clock);
    store.failing = failing;
    this.store = store;
    const starting = startingState(store.durable, this.policies);
    if ('problem' in starting) throw new Error(starting.problem);
    this.broker = new Broker({
      clock: this.clock,
      bootId: this.bootId,
      state: starting.state,
      store,
      notes: this.notes,
      found: { leases: [...this.notes.slots.values()], damaged: this.foundDamaged },
      accountNotes: this.accountNotes,
      accountsFound: { accounts: [...this.accountNotes.slots.values()], complete: this.accountsComplete },
      policies: this.policies,
      observer: this.#observer(),
      limits: this.limits,
    });
    this.#dueMs = Infinity;
    this.broker.announceDueTo((dueMs) => {
      this.#dueMs = Math.min(this.#dueMs, dueMs);
    });
    this.foundDamaged = false;
    this.accountsComplete = true;
    const failure = await this.broker.start();
    store.held = held;
    store.failing = failingLater;
    return failure;
  }

  connect(name = 'bot', session?: string): Bot {
    return new Bot(this, name, session);
  }

  /** `kill -9`. */
  crash(writeLands = false): void {
    this.store.die(writeLands);
    this.clock.forgetTimers();
  }

  async crashAndRestart(writeLands = false): Promise<void> {
    this.crash(writeLands);
    await this.start();
  }

  /** A clean stop, with a disk that is well again. */
  async stop(): Promise<void> {
    const { held } = this.store;
    this.store.held = false;
    this.store.failing = undefined;
    this.store.settle();
    await this.broker.stop();
    this.store.held = held;
    this.crash();
  }

  async stopAndRestart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** The power fails and comes back: no notes, another boot id. */
  async reboot(wallMs: number, writeLands = false): Promise<void> {
    this.crash(writeLands);
    this.#boots += 1;
    this.bootId = `boot-${this.#boots}`;
    this.notes.slots.clear();
    this.accountNotes.slots.clear();
    this.accountsComplete = false;
    this.clock.reboot(wallMs);
    await this.start();
  }

  /** Time passes: timers fire and leases expire when they are due. `moved` is told of each move of the clock. */
  async advance(ms: number, moved = () => {}): Promise<void> {
    const endMs = this.clock.monotonicMs() + ms;
    for (;;) {
      await settled();
      const dueMs = Math.min(this.#dueMs, this.clock.nextDueMs() ?? Infinity);
      if (dueMs > endMs) break;
      this.clock.stall(Math.max(0, dueMs - this.clock.monotonicMs()));
      moved();
      this.clock.fireDue();
      await settled();
      this.#dueMs = Infinity;
      this.broker.expire();
      this.#dueMs = Math.min(this.#dueMs, this.broker.nextDueMs() ?? Infinity);
    }
    this.clock.stall(endMs - this.clock.monotonicMs());
    moved();
  }

  /** One acquire with its release, by a connection of its own. */
  async roundTrip(account = 'MASTER'): Promise<Grant> {
    const bot = this.connect();
    const id = bot.acquire({ account });
    await settled();
    const grant = bot.grant(id);
    bot.release(grant.token);
    return grant;
  }

  /** What the observer was told, in order. */
  get observed(): (BrokerEvent['kind'] | 'failed')[] {
    return this.sent.flatMap((event) => (event.kind === 'observed' ? [event.what] : []));
  }

  /** Names of the bots that were granted something, in order. */
  get grantOrder(): string[] {
    return this.sent.flatMap((event) =>
      event.kind === 'answer' && event.answer.kind === 'granted' ? [event.bot.name] : [],
    );
  }

  hear(event: Sent): void {
    if (event.kind === 'answer' && event.answer.kind === 'refused') {
      const { code } = event.answer.refusal;
      if (this.#traced !== code) throw new Error(`${code} was told and has left no trace`);
      this.#traced = undefined;
    }
    this.sent.push(event);
    this.listen(event);
  }

  #observer(): Observer {
    return {
      observe: ({ kind }) => this.hear({ kind: 'observed', what: kind }),
      failed: () => this.hear({ kind: 'observed', what: 'failed' }),
      refused: ({ code }) => {
        this.#traced = code;
      },
    };
  }
}
