import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LeakyBucket } from '../../../src/core/accounts/pacing.ts';
import type { Policies } from '../../../src/core/accounts/policies.ts';
import type { Token } from '../../../src/core/ports.ts';
import type { ExclusionPolicy, Outcome, Priority } from '../../../src/terms.ts';
import { shareOf } from '../../fixtures/effort.ts';
import { configured } from '../configured.ts';
import { type Bot, Machine, type Sent, settled } from '../simulation.ts';

const HOUR_MS = 3_600_000;
const RETURN_MS = 2_000;
const BOTS = 3;
/** What a bucket of doubles may be off by. */
const TOLERANCE = 1e-6;

interface Pace {
  readonly max: number;
  readonly perSecond: number;
}

/** A timer that is due later is not that of a write which is tried again. */
const LONGEST_RETRY_MS = 5_000;
/** Rates that no double can hold among them; one account is not paced at all. */
const PACES: Readonly<Record<string, Pace | undefined>> = {
  MASTER: { max: 3, perSecond: 0.33 },
  'USER:alice': { max: 5.5, perSecond: 7 / 3 },
  'USER:bob': { max: 2, perSecond: 1 },
  FREE: undefined,
};
const ACCOUNTS = Object.keys(PACES);
const PRIORITIES: readonly Priority[] = ['urgent', 'normal', 'background'];
const EXCLUSION: readonly ExclusionPolicy[] = ['global', 'account', 'off'];
/** Configurations that pace alike: what differs is which accounts share an exchange, and so a lane. */
const ALONE = ['nobody', 'MASTER', 'USER:bob'] as const;

function policiesWith(alone: string): Policies {
  const accounts = ACCOUNTS.map((name) => [
    name,
    { pacing: PACES[name], exchange: name === alone ? 'other' : 'default' },
  ]);
  return configured({ accounts: Object.fromEntries(accounts) });
}

const bot = fc.nat(BOTS - 1);
const account = fc.constantFrom(...ACCOUNTS);
const cost = fc.oneof(
  { weight: 4, arbitrary: fc.constant(1) },
  { weight: 2, arbitrary: fc.constantFrom(0, 0.1, 2, 3) },
  { weight: 1, arbitrary: fc.double({ min: 0, max: 6, noNaN: true }) },
);

const step = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      bot,
      account,
      cost,
      priority: fc.constantFrom(...PRIORITIES),
      waitMs: fc.constantFrom(0, 900, 60_000),
      ttlMs: fc.constantFrom(1, 400, 5_000),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('next' as const),
      which: fc.nat(3),
      account: fc.option(account, { nil: undefined }),
      cost,
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant('release' as const),
      which: fc.nat(3),
      outcome: fc.constantFrom<Outcome[]>(
        'ok',
        'ok',
        'ok',
        'unknown',
        'unused',
        'rate-limited',
        'unsettled',
        'invalid-nonce',
        'locked-out',
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), which: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reconnect' as const), bot }) },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.oneof(fc.constantFrom(1, 137, 500, 1_000, 3_031), fc.double({ min: 0, max: 4_000, noNaN: true })),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), lands: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stop' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reboot' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hold-writes' as const), held: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('set-exclusive' as const), policy: fc.constantFrom(...EXCLUSION) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('follow' as const), alone: fc.constantFrom(...ALONE) }) },
);

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

interface Request {
  readonly id: number;
  readonly bot: Bot;
  readonly account: string;
  readonly cost: number;
  /** Undefined for a further nonce under a lease. */
  readonly priority: Priority | undefined;
  readonly under: Token | undefined;
}

/** Things that happen at one time happen in an order. */
interface Moment {
  readonly ms: number;
  readonly turn: number;
}

/** A call that was let through. The exchange may have counted it at any moment until it ended. */
interface Call {
  readonly account: string;
  readonly cost: number;
  readonly began: Moment;
  ended: Moment | undefined;
}

interface Level {
  readonly least: number;
  readonly most: number;
}

interface UnderWay {
  readonly account: string;
  readonly cost: number;
  /** The daemon may count it or not: a guess from before a restart, or a call of which nothing was sent. */
  readonly adopted?: boolean;
}

interface Live {
  readonly token: Token;
  readonly bot: Bot;
  readonly account: string;
  /** To which its call goes, whatever is configured since. */
  readonly exchange: string;
  readonly calls: Call[];
}

/** Knows what went through, by the answers alone, and by simple sums how full each bucket must be. */
class World {
  readonly machine: Machine;
  readonly calls: Call[] = [];
  readonly #bots: Bot[] = [];
  readonly #asked = new Map<number, Request>();
  readonly #live = new Map<Token, Live>();
  /** At least, and at most: what a restart has cut off the next daemon can only guess. */
  readonly #levels = new Map<string, { least: number; most: number; atMs: number }>();
  /** What each lease's calls have cost, by account. */
  readonly #underWay = new Map<Token, readonly UnderWay[]>();
  readonly #tight: boolean;
  #alone: string = ALONE[0];
  /** Of the monotonic clock: a reboot takes no time here, which is the hardest case. */
  #offsetMs = 0;
  #bootedAtMs = Number.NEGATIVE_INFINITY;
  #closedUntilMs = 0;
  #ids = 0;
  #turns = 0;
  #objection: unknown;
  /** Calls of one account have been under way beside each other: they may all arrive at once. */
  wasOff = false;
  /** How often a waiter was seen to wait for nothing but its pace. */
  paced = 0;
  /** How many calls were given back. */
  unsent = 0;

  private constructor(machine: Machine, tight: boolean) {
    this.machine = machine;
    this.#tight = tight;
    this.wasOff = machine.broker.exclusive === 'off';
    for (const name of ACCOUNTS) this.#setLevel(name, { least: 0, most: 0 });
    for (let n = 0; n < BOTS; n += 1) this.#bots.push(machine.connect());
    machine.listen = (event) => {
      // Thrown here it would be lost, or stop the broker in the middle of something.
      try {
        this.#heard(event);
      } catch (error) {
        this.#objection ??= error;
      }
    };
  }

  /** `tight`: there is room for fewer accounts than there are, and the idle ones are forgotten. */
  static async begun(exclusive: ExclusionPolicy, tight: boolean): Promise<World> {
    const limits = { accounts: tight ? ACCOUNTS.length - 1 : ACCOUNTS.length };
    return new World(await Machine.started({ exclusive, limits, policies: policiesWith(ALONE[0]) }), tight);
  }

  get nowMs(): number {
    return this.#offsetMs + this.machine.clock.monotonicMs();
  }

  #moment(): Moment {
    return { ms: this.nowMs, turn: this.#turns++ };
  }

  /** What the bucket holds now. */
  #levelOf(name: string): Level {
    const pace = PACES[name];
    const then = this.#levels.get(name);
    if (pace === undefined || then === undefined) return { least: 0, most: 0 };
    const drained = ((this.nowMs - then.atMs) / 1000) * pace.perSecond;
    return { least: Math.max(0, then.least - drained), most: Math.max(0, then.most - drained) };
  }

  #setLevel(name: string, level: Level): void {
    // What is over the maximum, for calls that were under way together, a restart may forget.
    const least = Math.min(level.least, PACES[name]?.max ?? 0);
    this.#levels.set(name, { least, most: level.most, atMs: this.nowMs });
  }

  #fill(name: string): void {
    const { least, most } = this.#levelOf(name);
    const max = PACES[name]?.max ?? 0;
    this.#setLevel(name, { least: Math.max(max, least), most: Math.max(max, most) });
  }

  #heard(event: Sent): void {
    if (event.kind === 'struck') this.#ended(event.token);
    if (event.kind !== 'answer') return;
    const request = this.#asked.get(Number(event.id));
    if (request === undefined || request.bot !== event.bot) throw new Error('an answer to nobody');
    this.#asked.delete(request.id);
    if (event.answer.kind === 'refused') return;
    const { account: name, cost: its } = request;
    const call: Call = { account: name, cost: its, began: this.#moment(), ended: undefined };
    this.calls.push(call);
    if (event.answer.kind === 'granted') {
      const { token } = event.answer.grant;
      this.#live.set(token, { token, bot: event.bot, account: name, exchange: this.#exchangeOf(name), calls: [call] });
    } else if (request.under !== undefined) {
      this.#live.get(request.under)?.calls.push(call);
    }
    const token = event.answer.kind === 'granted' ? event.answer.grant.token : request.under;
    if (token !== undefined) this.#underWay.set(token, [...(this.#underWay.get(token) ?? []), call]);
    const { least, most } = this.#levelOf(name);
    const max = PACES[name]?.max ?? Infinity;
    if (its > 0 && least + its > max + TOLERANCE) throw new Error(`${name} holds ${least + its}, over ${max}`);
    this.#setLevel(name, { least: least + its, most: most + its });
  }

  /** What was under way may have arrived only now: the bucket is no emptier than that. */
  #ended(token: Token): void {
    for (const call of this.#live.get(token)?.calls ?? []) call.ended = this.#moment();
    this.#live.delete(token);
    for (const { account: name } of this.#underWay.get(token) ?? []) {
      const all = [...this.#underWay.values()].flat().filter((call) => call.account === name);
      const sum = all.reduce((total, call) => total + call.cost, 0);
      const known = all.reduce((total, call) => total + (call.adopted === true ? 0 : call.cost), 0);
      const { least, most } = this.#levelOf(name);
      this.#setLevel(name, { least: Math.max(least, known), most: Math.max(most, sum) });
    }
    this.#underWay.delete(token);
  }

  /** Nothing was sent: the call was none. What the daemon may still count of it is not said. */
  #unsent({ token, calls }: Live): void {
    const [call] = calls;
    if (call === undefined || calls.length > 1) return;
    const { least, most } = this.#levelOf(call.account);
    this.#setLevel(call.account, { least: Math.max(0, least - call.cost), most });
    this.calls.splice(this.calls.indexOf(call), 1);
    this.#underWay.set(token, [{ account: call.account, cost: call.cost, adopted: true }]);
    this.unsent += 1;
  }

  #ask(request: Omit<Request, 'id'>): number {
    const id = ++this.#ids;
    this.#asked.set(id, { ...request, id });
    return id;
  }

  #gone(who?: Bot): void {
    for (const [id, request] of this.#asked) if (who === undefined || request.bot === who) this.#asked.delete(id);
  }

  #bot(n: number): Bot {
    const found = this.#bots[n];
    if (found === undefined) throw new Error(`no bot ${n}`);
    return found;
  }

  #held(which: number): Live | undefined {
    const all = [...this.#live.values()];
    return all[which % Math.max(1, all.length)];
  }

  async #restart(start: () => Promise<void>, rebooted: boolean): Promise<void> {
    this.#gone();
    // When a call ended that a restart has cut off, and what it cost, the next daemon can only guess.
    for (const call of this.calls) call.ended = undefined;
    this.#live.clear();
    this.#underWay.clear();
    for (const noted of rebooted ? [] : this.machine.notes.slots.values()) {
      if (noted.expiresAtMs <= this.machine.clock.monotonicMs()) continue;
      this.#underWay.set(noted.token, [{ account: noted.account, cost: 1, adopted: true }]);
    }
    // A reader of the notes knows that after a reboot they do not name every account.
    const doubtful = rebooted || this.nowMs - this.#bootedAtMs < HOUR_MS;
    if (doubtful) {
      for (const [name, pace] of Object.entries(PACES)) {
        const isNoted = !rebooted && this.machine.accountNotes.slots.has(name);
        if (pace !== undefined && !isNoted) this.#fill(name);
      }
    }
    for (const name of ACCOUNTS) {
      const adopted = [...this.#underWay.values()].flat().filter((call) => call.account === name).length;
      const { least, most } = this.#levelOf(name);
      this.#setLevel(name, { least: Math.min(least, PACES[name]?.max ?? 0), most: most + adopted });
    }
    this.machine.accountsComplete = !doubtful;
    await start();
    this.#closedUntilMs = this.nowMs + RETURN_MS;
    for (let n = 0; n < BOTS; n += 1) this.#bots[n] = this.machine.connect();
  }

  async do(what: Step): Promise<void> {
    const { machine } = this;
    switch (what.do) {
      case 'acquire': {
        const by = this.#bot(what.bot);
        by.acquire(
          what,
          this.#ask({ bot: by, account: what.account, cost: what.cost, priority: what.priority, under: undefined }),
        );
        break;
      }
      case 'next': {
        const lease = this.#held(what.which);
        if (lease === undefined) break;
        const name = what.account ?? lease.account;
        const id = this.#ask({
          bot: lease.bot,
          account: name,
          cost: what.cost,
          priority: undefined,
          under: lease.token,
        });
        lease.bot.next(lease.token, what.account, 1, id, what.cost);
        break;
      }
      case 'release': {
        const lease = this.#held(what.which);
        if (lease === undefined) break;
        // Before the broker hears of it, which may let the next call through at once.
        if (what.outcome === 'rate-limited') this.#fill(lease.account);
        if (what.outcome === 'unused') this.#unsent(lease);
        if (!lease.bot.release(lease.token, false, what.outcome)) throw new Error('a live lease was not released');
        break;
      }
      case 'cancel': {
        const request = [...this.#asked.values()].at(-1 - what.which);
        request?.bot.cancel(request.id);
        break;
      }
      case 'reconnect': {
        const by = this.#bot(what.bot);
        this.#gone(by);
        by.disconnect();
        this.#bots[what.bot] = machine.connect();
        break;
      }
      case 'pass':
        await machine.advance(what.ms);
        break;
      case 'crash':
        machine.crash(what.lands);
        await this.#restart(() => machine.start(), false);
        break;
      case 'stop':
        await machine.stop();
        await this.#restart(() => machine.start(), false);
        break;
      case 'reboot': {
        // Of an account that is forgotten, the daemon after a reboot no longer knows that its bucket was seen to drain.
        if (this.#tight) break;
        const beforeMs = this.nowMs;
        await this.#restart(async () => {
          await machine.reboot(machine.clock.wallMs() + 10);
          this.#offsetMs = beforeMs - machine.clock.monotonicMs();
        }, true);
        this.#bootedAtMs = this.nowMs;
        break;
      }
      case 'hold-writes':
        machine.store.held = what.held;
        if (!what.held) machine.store.settle();
        break;
      case 'set-exclusive':
        if (what.policy === 'off') this.wasOff = true;
        void machine.broker.setExclusive(what.policy);
        break;
      case 'follow': {
        const policies = policiesWith(what.alone);
        const { broker } = machine;
        void broker.follow(policies).then((followed) => {
          if ('code' in followed || broker !== machine.broker) return;
          this.#alone = what.alone;
          machine.policies = policies;
        });
        break;
      }
    }
    await settled();
  }

  /** All waits and leases have ended by now. */
  atEnd(): void {
    if (this.#asked.size > 0) throw new Error(`${this.#asked.size} requests were never answered`);
    if (this.machine.broker.status().totals.waiting > 0) throw new Error('somebody waits who has been answered');
  }

  #exchangeOf(name: string): string {
    return name === this.#alone ? 'other' : 'default';
  }

  /** I8: a waiter that could be granted is not left waiting. */
  atRest(): void {
    if (this.#objection !== undefined) throw this.#objection;
    const { broker, clock, store } = this.machine;
    const isWriting = store.pending !== undefined || (clock.nextInMs ?? Infinity) <= LONGEST_RETRY_MS;
    if (isWriting || this.nowMs < this.#closedUntilMs) return;
    const dueMs = broker.nextDueMs();
    if (dueMs !== undefined && dueMs <= clock.monotonicMs()) return;
    const laneOf = (name: string): string => (broker.exclusive === 'account' ? name : this.#exchangeOf(name));
    // A reload may have given the account another exchange: until its call has ended, the lane of the first one is taken too.
    const taken = new Set(
      broker.exclusive === 'off'
        ? []
        : [...this.#live.values()].flatMap(({ account, exchange }) => [laneOf(account), exchange]),
    );
    const looked = new Set<string>();
    for (const { account: name, priority, cost: its } of this.#asked.values()) {
      if (priority === undefined) throw new Error('a further nonce waits for nothing');
      const queue = `${name} ${priority}`;
      // A waiter that is not the first of its account and priority waits for that one.
      if (looked.has(queue)) continue;
      looked.add(queue);
      if (taken.has(laneOf(name))) continue;
      const pace = PACES[name];
      const { most } = this.#levelOf(name);
      const hasRoom = its === 0 || pace === undefined || most + its <= pace.max - TOLERANCE;
      if (hasRoom) throw new Error(`I8: ${name} waits in a free lane, with ${most} in its bucket`);
      this.paced += 1;
    }
  }
}

/**
 * Over any window, from the beginning or the end of any call to the beginning of any later one: what began in it, and
 * what ended in it and so may have been counted only then, cost no more than the bucket and what drains meanwhile.
 */
function checkWindows({ calls, wasOff }: World): void {
  for (const [name, pace] of Object.entries(PACES)) {
    if (pace === undefined) continue;
    const all = calls.filter((call) => call.account === name);
    const ends = all.flatMap(({ ended }) => (ended === undefined || wasOff ? [] : [ended]));
    for (const from of [...all.map(({ began }) => began), ...ends]) {
      const isEnd = ends.includes(from);
      let sum = 0;
      for (const { began, ended, cost: its } of all) {
        const wasUnderWay = isEnd && began.turn <= from.turn && (ended?.turn ?? -1) >= from.turn;
        if (began.turn >= from.turn || wasUnderWay) sum += its;
        if (began.turn < from.turn || its === 0) continue;
        const allowed = pace.max + (pace.perSecond * (began.ms - from.ms)) / 1000;
        if (sum > allowed + TOLERANCE) {
          throw new Error(`${name}: ${sum} from ${from.ms} to ${began.ms}, where ${allowed} are allowed`);
        }
      }
    }
  }
}

test('pacing is exact: no window is passed, and no waiter waits longer than its bucket makes it', async () => {
  const runs = shareOf(1_500);
  const seen = { calls: 0, paced: 0, unsent: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...EXCLUSION),
      fc.boolean(),
      fc.array(step, { minLength: 20, maxLength: 90, size: 'max' }),
      async (exclusive, tight, steps) => {
        const world = await World.begun(exclusive, tight);
        for (const each of steps) {
          await world.do(each);
          world.atRest();
        }
        await world.do({ do: 'hold-writes', held: false });
        await world.do({ do: 'pass', ms: 70_000 });
        world.atRest();
        world.atEnd();
        checkWindows(world);
        seen.calls += world.calls.length;
        seen.paced += world.paced;
        seen.unsent += world.unsent;
      },
    ),
    { numRuns: runs },
  );
  // Runs in which no waiter is granted, or none has to wait, would prove nothing.
  expect(seen.calls).toBeGreaterThan(5 * runs);
  expect(seen.paced).toBeGreaterThan(runs);
  expect(seen.unsent).toBeGreaterThan(runs / 4);
}, 60_000);

/** A call in a bucket by itself. */
interface Counted {
  readonly cost: number;
  readonly beganAtMs: number;
  endedAtMs: number | undefined;
  fate: 'under way' | 'ended' | 'unused';
}

/**
 * Returns when a bucket would be empty that had never seen the unused calls, by going through everything again: each
 * call counts when it began, and once more as late as it can have come.
 */
function emptyWithoutUnused(calls: readonly Counted[], fills: readonly number[], pace: Pace): number {
  const msPerUnit = 1_000 / pace.perSecond;
  const sent = calls.filter(({ fate }) => fate !== 'unused');
  const ends = sent.flatMap((call) => (call.endedAtMs === undefined ? [] : [{ atMs: call.endedAtMs, call }]));
  let latestMs = Number.NEGATIVE_INFINITY;
  // From each moment on: what was under way then, and what began after it.
  for (const { beganAtMs } of sent) {
    const cost = sent.filter((call) => call.beganAtMs >= beganAtMs).reduce((sum, call) => sum + call.cost, 0);
    latestMs = Math.max(latestMs, beganAtMs + cost * msPerUnit);
  }
  for (const { atMs } of ends) {
    const cost = sent
      .filter((call) => call.beganAtMs >= atMs || (call.endedAtMs ?? Number.POSITIVE_INFINITY) >= atMs)
      .reduce((sum, call) => sum + call.cost, 0);
    latestMs = Math.max(latestMs, atMs + cost * msPerUnit);
  }
  for (const atMs of fills) {
    const cost = sent.filter((call) => call.beganAtMs > atMs).reduce((sum, call) => sum + call.cost, 0);
    latestMs = Math.max(latestMs, atMs + (pace.max + cost) * msPerUnit);
  }
  return latestMs;
}

test('giving back leaves a bucket no emptier than one that has never seen the call', () => {
  const pace: Pace = { max: 15, perSecond: 1 };
  const act = fc.record({
    do: fc.constantFrom('add', 'add', 'add', 'end', 'give back', 'give back', 'fill'),
    afterMs: fc.constantFrom(1, 200, 1_000, 9_000, 12_000),
    cost: fc.constantFrom(0, 1, 3, 10),
    which: fc.nat(5),
  });
  let given = 0;
  let emptier = 0;
  fc.assert(
    fc.property(fc.array(act, { minLength: 4, maxLength: 24, size: 'max' }), (acts) => {
      const bucket = new LeakyBucket(pace, 0, 0);
      const calls: Counted[] = [];
      const fills: number[] = [];
      let nowMs = 1;
      for (const { do: what, afterMs, cost: its, which } of acts) {
        nowMs += afterMs;
        const underWay = calls.filter(({ fate }) => fate === 'under way');
        const call = underWay[which % Math.max(1, underWay.length)];
        if (what === 'add') {
          bucket.add(its, nowMs);
          calls.push({ cost: its, beganAtMs: nowMs, endedAtMs: undefined, fate: 'under way' });
        } else if (what === 'fill') {
          bucket.fill(nowMs);
          fills.push(nowMs);
        } else if (call !== undefined) {
          const before = bucket.level(nowMs);
          call.endedAtMs = nowMs;
          call.fate = what === 'end' ? 'ended' : 'unused';
          if (what === 'end') bucket.ended(call.cost, nowMs);
          else bucket.givenBack(call.cost, call.beganAtMs, nowMs);
          given += what === 'end' ? 0 : 1;
          if (bucket.level(nowMs) < before) emptier += 1;
        }
        const least = Math.max(0, emptyWithoutUnused(calls, fills, pace) - nowMs) / 1_000;
        expect(bucket.level(nowMs)).toBeGreaterThanOrEqual(least - TOLERANCE);
      }
    }),
    { numRuns: shareOf(2_000) },
  );
  expect(given).toBeGreaterThan(0);
  expect(emptier).toBeGreaterThan(given / 4);
});
