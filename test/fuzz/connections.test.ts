import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Policies } from '../../src/core/accounts/policies.ts';
import type { Codec, Message, RequestId } from '../../src/protocol/messages.ts';
import { configured } from '../core/configured.ts';
import { noSpace, settled } from '../core/simulation.ts';
import { answersById, type Caller, codecOf, Host, PAST_EVERYTHING_MS } from './host.ts';
import { FUZZ_TIMEOUT_MS, runs } from './runs.ts';

const CALLERS = 5;
const OPERATOR = CALLERS - 1;
const SESSIONS = ['0'.repeat(32), '1'.repeat(32), undefined] as const;

/** What an operator may have configured: nothing, a tight pace, or several exchanges and sequences. */
const POLICIES: readonly Policies[] = [
  configured({}),
  configured({ others: { pacing: { max: 3, perSecond: 2 } }, accounts: { B: { pacing: { max: 1, perSecond: 0.1 } } } }),
  configured({
    sequences: { other: 'ns' },
    accounts: { B: { exchange: 'two', sequence: 'other' }, C: { exchange: 'two', pacing: { max: 2, perSecond: 1 } } },
  }),
];

const account = fc.constantFrom('A', 'B', 'C', 'default');
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const ttlMs = maybe(fc.constantFrom(1, 2_500, 60_000));
/** A lease of this connection or of another, or none at all. */
const token = fc.nat(40);
const rarely = <T>(usually: fc.Arbitrary<T>, otherwise: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 12, arbitrary: usually as fc.Arbitrary<unknown> }, { weight: 1, arbitrary: otherwise });
const wrong = fc.constantFrom(-1, 1.5, '', 'no such', null, true, [], {}, 2 ** 53, 'x'.repeat(200));

/** Requests, most of them in order. `token` is the how-manieth of those that were seen. */
const request = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      method: fc.constant('acquire'),
      params: fc.record(
        {
          account: rarely(account, wrong),
          priority: rarely(fc.constantFrom('urgent', 'normal', 'background'), wrong),
          cost: rarely(fc.constantFrom(0, 0.5, 1, 3, 4), wrong),
          ttlMs: rarely(fc.constantFrom(1, 2_500, 60_000), wrong),
          waitMs: rarely(fc.constantFrom(0, 1, 4_000, 60_000), wrong),
          count: rarely(fc.constantFrom(1, 1, 1, 1_000), wrong),
          unit: rarely(fc.constantFrom('ns', 'ns', 'us'), wrong),
          key: rarely(fc.constantFrom('a'.repeat(16), 'b'.repeat(16)), wrong),
          label: rarely(fc.constantFrom('AddOrder', 'é'), wrong),
        },
        { requiredKeys: [] },
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      method: fc.constant('nonce'),
      params: fc.record({ account, count: rarely(fc.constantFrom(1, 1_000), wrong) }, { requiredKeys: [] }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      method: fc.constant('next'),
      token,
      params: fc.record({ account, cost: fc.constantFrom(0, 1, 9) }, { requiredKeys: [] }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      method: fc.constant('renew'),
      token,
      params: ttlMs.map((ms) => (ms === undefined ? {} : { ttlMs: ms })),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      method: fc.constant('release'),
      token,
      params: fc.record(
        {
          outcome: rarely(
            fc.constantFrom(
              'unknown',
              'ok',
              'unsettled',
              'unavailable',
              'invalid-nonce',
              'rate-limited',
              'locked-out',
              'unused',
            ),
            wrong,
          ),
          usedOwnClock: fc.boolean(),
        },
        { requiredKeys: [] },
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ method: fc.constant('status'), params: fc.constant({}) }) },
  {
    weight: 2,
    arbitrary: fc.record({ method: fc.constant('why'), params: fc.record({ account }, { requiredKeys: [] }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      method: fc.constant('hello'),
      params: fc
        .constantFrom(...SESSIONS)
        .map((session) => (session === undefined ? {} : { session, name: 'bot', pid: 7 })),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      method: fc.constantFrom('cancel', 'toString', 'constructor', ''),
      params: fc.constant({ id: 1 }),
    }),
  },
  // Of the operator; forbidden to all others.
  {
    weight: 2,
    arbitrary: fc.record({ method: fc.constantFrom('pause', 'resume-account'), params: fc.record({ account }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      method: fc.constant('set-exclusive'),
      params: fc.record({ policy: rarely(fc.constantFrom('global', 'account', 'off'), wrong) }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      method: fc.constant('advance'),
      params: fc.oneof(
        fc.record({ account, by: fc.constantFrom('1', '90000000000', 5) }),
        fc.record({
          sequence: fc.constantFrom('default', 'other', 'none'),
          to: fc.constantFrom('now', '1', '9223372036854775807'),
        }),
        fc.record({ account, to: fc.constantFrom('now', 'later') }),
        fc.record({ account, sequence: fc.constant('default'), by: fc.constant('1') }),
      ),
    }),
  },
);

const who = fc.nat(CALLERS - 1);
const step = fc.oneof(
  {
    weight: 40,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      who,
      request,
      notify: fc.nat(15).map((n) => n === 0),
      sameId: fc.nat(15).map((n) => n === 0),
    }),
  },
  // The operator, in earnest.
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      who: fc.constant(OPERATOR),
      request: fc.record({
        method: fc.constantFrom('pause', 'pause', 'resume-account'),
        params: fc.record({ account }),
      }),
      notify: fc.constant(false),
      sameId: fc.constant(false),
    }),
  },
  // The operator asks in earnest.
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      who: fc.constant(OPERATOR),
      request,
      notify: fc.constant(false),
      sameId: fc.constant(false),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('cancel' as const), who, back: fc.nat(6) }) },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.constantFrom(0, 1, 50, 700, 2_000, 3_001, 5_001, 30_000, 70_000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('hang-up' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('half-close' as const), who }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('garbage' as const), who, bytes: fc.uint8Array({ maxLength: 30 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('deaf' as const), who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('hold-writes' as const), held: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('settle-write' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('disk' as const), full: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('follow' as const), policies: fc.nat(POLICIES.length - 1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** A client of the property: what it has asked, and what it was owed when it was cut off. */
interface Client {
  readonly caller: Caller;
  readonly encoding: Codec['encoding'];
  readonly owed: Map<RequestId, number>;
  /** By the id of its request, for whom a nonce was drawn. */
  readonly accounts: Map<RequestId, string>;
  ids: number;
  /** Its answers were left unread, or it has said goodbye: not all answers will come. */
  partly: boolean;
}

class World {
  readonly host: Host;
  readonly all: Client[] = [];
  readonly clients: Client[] = [];
  readonly tokens: bigint[] = [];

  constructor(host: Host) {
    this.host = host;
    for (let n = 0; n < CALLERS; n += 1) this.connect(n);
  }

  connect(n: number): void {
    const caller = this.host.connect(n === OPERATOR ? 'admin' : 'bot');
    const client: Client = {
      caller,
      encoding: n % 2 === 0 ? 'json' : 'msgpack',
      owed: new Map(),
      accounts: new Map(),
      ids: 0,
      partly: false,
    };
    this.clients[n] = client;
    this.all.push(client);
  }

  client(n: number): Client {
    const client = this.clients[n];
    if (client === undefined) throw new Error(`no client ${n}`);
    if (client.caller.state === 'open') return client;
    this.connect(n);
    return this.client(n);
  }

  async do(what: Step): Promise<void> {
    const { machine } = this.host;
    switch (what.do) {
      case 'ask':
        this.ask(what);
        break;
      case 'cancel': {
        const { caller, encoding, ids } = this.client(what.who);
        caller.send(codecOf(encoding).notification('cancel', { id: Math.max(0, ids - what.back) }));
        break;
      }
      case 'pass':
        await this.host.pass(what.ms);
        break;
      case 'hang-up':
        this.client(what.who).caller.hangUp();
        break;
      case 'half-close': {
        const client = this.client(what.who);
        client.partly = true;
        client.caller.halfClose();
        break;
      }
      case 'garbage': {
        const client = this.client(what.who);
        client.partly = true;
        client.caller.send(what.bytes);
        // Otherwise the rest of what it has begun would become a part of the next request.
        await settled();
        client.caller.hangUp();
        break;
      }
      case 'deaf': {
        const client = this.client(what.who);
        client.partly = true;
        client.caller.deaf = true;
        break;
      }
      case 'hold-writes':
        machine.store.held = what.held;
        break;
      case 'settle-write':
        machine.store.settle();
        break;
      case 'disk':
        machine.store.failing = what.full ? noSpace() : undefined;
        break;
      case 'follow': {
        const policies = POLICIES[what.policies];
        if (policies === undefined) break;
        // A configuration that does not fit the state is refused; the next daemon finds the last one that fitted.
        machine.broker.follow(policies).then((followed) => {
          if (!('code' in followed)) machine.policies = policies;
        });
        break;
      }
      case 'restart':
        await this.host.restart();
        for (let n = 0; n < CALLERS; n += 1) this.connect(n);
        break;
    }
    await settled();
    this.look();
  }

  ask({ who: n, request: asked, notify, sameId }: Extract<Step, { do: 'ask' }>): void {
    const client = this.client(n);
    const codec = codecOf(client.encoding);
    const params: Record<string, unknown> = { ...(asked.params as object) };
    if ('token' in asked) params['token'] = this.tokens.at(-1 - asked.token) ?? BigInt(asked.token + 1);
    if (notify) {
      client.caller.send(codec.notification(asked.method, params));
      return;
    }
    if (!sameId || client.ids === 0) client.ids += 1;
    const id = client.ids;
    client.owed.set(id, (client.owed.get(id) ?? 0) + 1);
    const drawnFor = params['account'] ?? (params['key'] === undefined ? 'default' : `key:${String(params['key'])}`);
    // If an id is used twice, it is not known which request got the nonce.
    if (asked.method === 'acquire' || asked.method === 'nonce') client.accounts.set(id, sameId ? '' : String(drawnFor));
    client.caller.send(codec.request(id, asked.method, params));
  }

  /** Takes note of what was granted. */
  look(): void {
    for (const { caller } of this.clients) {
      for (const message of caller.messages().slice(-3)) {
        const held = grantIn(message)?.token;
        if (held !== undefined && !this.tokens.includes(held)) this.tokens.push(held);
      }
    }
  }

  /** Lets all requests end, and checks every answer. */
  async expectAllAnswered(): Promise<void> {
    const { machine } = this.host;
    machine.store.held = false;
    machine.store.failing = undefined;
    machine.store.settle();
    await this.host.pass(PAST_EVERYTHING_MS);
    const drawn = new Map<string, { from: bigint; below: bigint }[]>();
    for (const { caller, owed, accounts, partly } of this.all) {
      const messages = caller.messages();
      const answered = answersById(messages);
      if (this.clients.some((client) => client.caller === caller) && caller.state === 'open' && !partly) {
        expect(answered).toEqual(owed);
      }
      for (const [id, times] of answered) if (id !== 0) expect(times).toBeLessThanOrEqual(owed.get(id) ?? 0);
      for (const message of messages) {
        const grant = grantIn(message);
        const of = message.kind === 'answer' ? accounts.get(message.id) : undefined;
        if (grant?.nonce === undefined || of === undefined || of === '') continue;
        drawn.set(of, [...(drawn.get(of) ?? []), { from: grant.nonce, below: grant.nonce + BigInt(grant.count) }]);
      }
    }
    // I2: no nonce of an account was handed out twice, to whomever.
    for (const [of, ranges] of drawn) {
      ranges.sort((a, b) => (a.from < b.from ? -1 : 1));
      for (let at = 1; at < ranges.length; at += 1) {
        expect((ranges[at]?.from ?? 0n) >= (ranges[at - 1]?.below ?? 0n), `nonces of ${of}`).toBe(true);
      }
    }
  }
}

function grantIn(message: Message): { nonce?: bigint; count: number; token?: bigint } | undefined {
  if (message.kind !== 'answer') return undefined;
  const { nonce, count, token: held } = message.result as Record<string, string | bigint | number | undefined>;
  if (nonce === undefined) return undefined;
  return { nonce: BigInt(nonce), count: Number(count), ...(held === undefined ? {} : { token: BigInt(held) }) };
}

test(
  'every request is answered once, among all other events, and nothing stays behind',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(POLICIES.length - 1),
        fc.constantFrom('global', 'account', 'off'),
        fc.array(step, { maxLength: 80 }),
        fc.boolean(),
        async (policies, exclusive, steps, isPatient) => {
          const host = await Host.started({ exclusive, policies: POLICIES[policies] ?? configured({}) });
          const world = new World(host);
          for (const each of steps) await world.do(each);
          // Or all hang up in the midst of it.
          if (isPatient) await world.expectAllAnswered();
          await host.expectNothingLeft();
        },
      ),
      runs(600),
    );
  },
  FUZZ_TIMEOUT_MS,
);
