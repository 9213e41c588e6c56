import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Token } from '../../src/core/ports.ts';
import type { ExclusionPolicy, Priority } from '../../src/terms.ts';
import { shareOf } from '../fixtures/effort.ts';
import { Checker } from './checker.ts';
import { type Bot, Machine, noSpace, settled } from './simulation.ts';

const HOUR_MS = 3_600_000;
const ACCOUNTS = ['MASTER', 'USER:alice', 'USER:bob'] as const;
const POLICIES: readonly ExclusionPolicy[] = ['global', 'account', 'off'];
const PRIORITIES: readonly Priority[] = ['urgent', 'normal', 'background'];
const BOTS = 4;

const bot = fc.nat(BOTS - 1);
const account = fc.constantFrom(...ACCOUNTS);
const which = fc.nat(20);
const count = fc.oneof({ weight: 5, arbitrary: fc.constant(1) }, fc.constantFrom(2, 1_000));
const lands = fc.boolean();

/** Everything that can happen to a daemon, its clients and its machine. */
const step = fc.oneof(
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      bot,
      account,
      count,
      priority: fc.constantFrom(...PRIORITIES),
      ttlMs: fc.option(fc.constantFrom(1, 2_500, 60_000), { nil: undefined }),
      waitMs: fc.option(fc.constantFrom(0, 1, 4_000, 60_000), { nil: undefined }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('nonce' as const), bot, account, count }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('next' as const),
      bot,
      which,
      count,
      account: fc.option(account, { nil: undefined }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('renew' as const),
      bot,
      which,
      ttlMs: fc.option(fc.constantFrom(2_500, 60_000), { nil: undefined }),
    }),
  },
  { weight: 14, arbitrary: fc.record({ do: fc.constant('release' as const), bot, which, ownClock: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), bot, which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reconnect' as const), bot }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.constantFrom(1, 50, 700, 2_000, 3_000, 5_001, 30_000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('stall' as const), ms: fc.constantFrom(100, 6_000, 40_000) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('step-wall' as const),
      ms: fc.constantFrom(-2 * HOUR_MS, -1_000, 800, 40 * 60_000, 2 * HOUR_MS),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('hold-writes' as const), held: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('settle-write' as const), ok: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('disk' as const), full: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), lands, damaged: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stop' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reboot' as const), lands }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('set-exclusive' as const), policy: fc.constantFrom(...POLICIES) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('advance' as const), by: fc.constantFrom(-5n, 1n, 90_000_000_000n) }),
  },
);

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;
type Pass = Extract<Step, { do: 'pass' }>;

/** Clients that come back by themselves, as the client library does. */
class World {
  readonly machine: Machine;
  readonly checker: Checker;
  readonly bots: Bot[] = [];
  readonly tokens: Token[] = [];
  #ids = 0;

  private constructor(machine: Machine) {
    this.machine = machine;
    this.checker = new Checker(machine);
    const listen = machine.listen;
    machine.listen = (event) => {
      listen(event);
      if (event.kind === 'answer' && event.answer.kind === 'granted') this.tokens.push(event.answer.grant.token);
    };
    for (let n = 0; n < BOTS; n += 1) this.connect(n);
  }

  static async begun(exclusive: ExclusionPolicy): Promise<World> {
    return new World(await Machine.started({ exclusive }));
  }

  connect(n: number): void {
    // One of them tells no session, as a shell does.
    const session = n === 0 ? undefined : `session-${n}`;
    const bot = this.machine.connect(`bot-${n}`, session);
    this.bots[n] = bot;
    this.checker.says(bot);
  }

  bot(n: number): Bot {
    const bot = this.bots[n];
    if (bot === undefined) throw new Error(`no bot ${n}`);
    return bot;
  }

  /** One of the last tokens, preferably one that the bot has been granted. */
  token(which: number): Token | undefined {
    return this.tokens.at(-1 - (which % 4));
  }

  reopened(damaged = false): void {
    this.checker.opens(damaged);
    for (let n = 0; n < BOTS; n += 1) this.connect(n);
  }

  async do(what: Step): Promise<void> {
    const { machine, checker } = this;
    switch (what.do) {
      case 'acquire': {
        const id = ++this.#ids;
        checker.asksAcquire(this.bot(what.bot), id, what.account, what.priority, what.waitMs);
        this.bot(what.bot).acquire(what, id);
        break;
      }
      case 'nonce': {
        const id = ++this.#ids;
        checker.asksNonce(this.bot(what.bot), id);
        this.bot(what.bot).nonce(what.account, what.count, id);
        break;
      }
      case 'next': {
        const token = this.token(what.which);
        if (token === undefined) break;
        const id = ++this.#ids;
        checker.asksNonce(this.bot(what.bot), id, token);
        this.bot(what.bot).next(token, what.account, what.count, id);
        break;
      }
      case 'renew': {
        const token = this.token(what.which);
        if (token === undefined) break;
        checker.renewed(this.bot(what.bot), token, what.ttlMs, this.bot(what.bot).renew(token, what.ttlMs));
        break;
      }
      case 'release': {
        // Mostly a lease that is held, by its holder.
        const holder = what.which < 18 ? this.bots.find(({ client }) => client.leases.size > 0) : undefined;
        const by = holder ?? this.bot(what.bot);
        const token = holder === undefined ? this.token(what.which) : [...holder.client.leases][0]?.token;
        if (token === undefined) break;
        const expected = checker.releases(by, token);
        if (by.release(token, what.ownClock) !== expected) throw new Error(`release answered ${!expected}`);
        break;
      }
      case 'cancel':
        this.bot(what.bot).cancel(this.#ids - (what.which % 5));
        break;
      case 'reconnect':
        checker.disconnects(this.bot(what.bot));
        this.bot(what.bot).disconnect();
        this.connect(what.bot);
        break;
      case 'pass':
        await this.#pass(what.ms);
        break;
      case 'stall':
        // Nothing is expired: the process stands still, and input comes first when it goes on.
        machine.clock.stall(what.ms);
        checker.timePasses();
        break;
      case 'step-wall':
        machine.clock.stepWall(what.ms);
        checker.wallSteps();
        break;
      case 'hold-writes':
        machine.store.held = what.held;
        if (!what.held) machine.store.settle();
        break;
      case 'settle-write':
        if (what.ok) machine.store.settle();
        else machine.store.fail(noSpace());
        break;
      case 'disk':
        machine.store.failing = what.full ? noSpace() : undefined;
        break;
      case 'crash': {
        const damaged = what.damaged === 0;
        machine.crash(what.lands);
        checker.dies(true);
        machine.foundDamaged = damaged;
        await machine.start();
        this.reopened(damaged);
        break;
      }
      case 'stop':
        await machine.stop();
        checker.dies(true);
        await machine.start();
        this.reopened();
        break;
      case 'reboot': {
        const wallMs = machine.clock.wallMs() + 20_000;
        checker.dies(false);
        await machine.reboot(wallMs, what.lands);
        checker.timePasses();
        this.reopened();
        break;
      }
      case 'set-exclusive':
        void machine.broker.setExclusive(what.policy);
        break;
      case 'advance': {
        const last = machine.broker.status().sequences[0]?.last ?? 0n;
        checker.advancesTo(last + 1n + what.by);
        void machine.broker.advance({
          sequence: 'default',
          target: { kind: 'by', nonces: what.by },
          maxLeadMs: 24 * HOUR_MS,
        });
        break;
      }
    }
    await settled();
    checker.switched();
  }

  async #pass(ms: number): Promise<void> {
    this.machine.broker.expire();
    await this.machine.advance(ms, () => this.checker.timePasses());
    this.machine.broker.expire();
  }

  /** The disk is well, and more time passes than any waiter may wait. */
  async finish(): Promise<void> {
    const { machine } = this;
    machine.store.failing = undefined;
    await this.do({ do: 'hold-writes', held: false });
    await this.#pass(11 * 60_000);
    await settled();
    this.checker.atRest();
    this.checker.atEnd();
  }
}

const runs = { numRuns: shareOf(10_000) };

test('I1 to I8, I10: hold for clients, disk, clock and crashes in any order', async () => {
  let grants = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...POLICIES),
      fc.array(step, { minLength: 10, maxLength: 80, size: 'max' }),
      async (policy, steps) => {
        const world = await World.begun(policy);
        for (const each of steps) {
          await world.do(each);
          world.checker.atRest();
        }
        await world.finish();
        grants += world.checker.grants;
      },
    ),
    runs,
  );
  // The property says nothing about runs in which nothing is granted.
  expect(grants).toBeGreaterThan(5 * runs.numRuns);
});

test('I6: a crowd in one lane is granted by priority and arrival but for the aged share, even if waiters leave meanwhile', async () => {
  const crowdStep = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant('acquire' as const), bot, priority: fc.constantFrom(...PRIORITIES) }),
    },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('release' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), bot, which }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom<Pass['ms']>(50, 700, 5_001) }),
    },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(crowdStep, { minLength: 40, maxLength: 150, size: 'max' }), async (steps) => {
      const world = await World.begun('global');
      for (const each of steps) {
        switch (each.do) {
          case 'acquire':
            await world.do({ ...each, account: 'MASTER', count: 1, ttlMs: 60_000, waitMs: 60_000 });
            break;
          case 'release':
            await world.do({ do: 'release', bot: 0, which: 0, ownClock: false });
            break;
          default:
            await world.do(each);
        }
        world.checker.atRest();
      }
      await world.finish();
    }),
    { numRuns: shareOf(500) },
  );
});
