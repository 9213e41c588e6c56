import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Grant } from '../../src/client/api.ts';
import { Client } from '../../src/client/client.ts';
import { ERROR_CODES, NoncedError } from '../../src/errors.ts';
import { msgpackRpc } from '../../src/protocol/msgpack-rpc.ts';
import { type Asked, FakeDaemon } from '../client/fake-daemon.ts';
import { settle } from '../fixtures/virtual-clock.ts';
import { pieces, specimens } from './corpus.ts';
import { FUZZ_TIMEOUT_MS, runs } from './runs.ts';

/** Longer than anything that a caller here is ready to wait for. */
const PAST_EVERY_WAIT_MS = 200_000;
/** In a specimen, this stands for the id of a request. */
const ID = Buffer.from('cd4242', 'hex');

/** What became of the promises of a client, each of which must settle as it is promised. */
class Callers {
  pending = 0;
  readonly grants: Grant[] = [];
  /** Nonces that callers were given. */
  readonly nonces: bigint[] = [];

  watch(promise: Promise<unknown>): void {
    this.pending += 1;
    promise.then(
      (value) => this.#settled(value),
      (error: unknown) => {
        this.pending -= 1;
        if (!(error instanceof NoncedError)) throw error;
        expect(ERROR_CODES).toContain(error.code);
        expect(error.message).not.toBe('');
        expect([false, 'unknown']).toContain(error.sent);
      },
    );
  }

  /** A promise that is answered a grant or a nonce. */
  draws(promise: Promise<bigint | Grant>): void {
    this.watch(
      promise.then((drawn) => {
        if (typeof drawn === 'bigint') this.nonces.push(drawn);
        else {
          this.grants.push(drawn);
          this.nonces.push(drawn.nonce);
          expect(drawn.ttlMs).toBeGreaterThanOrEqual(0);
          expect(Number.isFinite(drawn.expiresInMs())).toBe(true);
        }
        return drawn;
      }),
    );
  }

  #settled(_value: unknown): void {
    this.pending -= 1;
  }
}

/** The specimen as an answer to the request with this id. */
function answerTo(bytes: Buffer, id: number): Buffer {
  const at = bytes.indexOf(ID);
  if (at < 0) return bytes;
  const own = Buffer.alloc(5, 0xce);
  own.writeUInt32BE(id, 1);
  return Buffer.concat([bytes.subarray(0, at), own, answerTo(bytes.subarray(at + ID.length), id)]);
}

const ANSWERS = specimens('answers');

describe('a daemon that answers', () => {
  test.each(ANSWERS)(
    '$name: calls that wait settle, and the client goes on with the next daemon',
    async ({ bytes }) => {
      for (const cut of [Number.MAX_SAFE_INTEGER, 1]) {
        const daemon = new FakeDaemon();
        const client = await daemon.connect();
        const callers = new Callers();
        callers.draws(client.acquire({ account: 'A', waitMs: 10_000 }));
        callers.draws(client.nonce({ waitMs: 10_000 }));
        callers.watch(client.status());
        const [first] = [await daemon.hear('acquire')];
        for (const piece of pieces(answerTo(bytes, first.id), cut)) daemon.line.say(piece);
        await settle();
        await daemon.clock.advanceSettled(PAST_EVERY_WAIT_MS);
        expect(callers.pending).toBe(0);
        // By now it may have given up on the connection, or not.
        daemon.heard = [];
        if (daemon.line.open) daemon.line.break();
        callers.draws(client.nonce());
        await daemon.clock.advanceSettled(1_000);
        daemon.greet();
        (await daemon.hear('nonce')).answer({ nonce: 77n, count: 1 });
        await settle();
        expect(callers.nonces.at(-1)).toBe(77n);
        for (const grant of callers.grants) callers.watch(grant.release());
        await client.close();
        await settle();
        expect(callers.pending).toBe(0);
        expect(daemon.clock.timers).toBe(0);
      }
    },
  );

  test.each(ANSWERS)('$name to hello: connecting fails in words, or is still greeted in time', async ({ bytes }) => {
    const daemon = new FakeDaemon();
    const client = new Client(daemon.ports());
    const callers = new Callers();
    callers.watch(client.open(undefined));
    const hello = await daemon.hear('hello');
    daemon.line.say(answerTo(bytes, hello.id));
    await settle();
    await daemon.clock.advanceSettled(20_000);
    expect(callers.pending).toBe(0);
    await client.close();
    expect(daemon.clock.timers).toBe(0);
  });
});

const oddValue = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    '',
    '12',
    'x',
    -1,
    0,
    1.5,
    1e300,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    -1n,
    0n,
    2n ** 64n - 1n,
    [],
    {},
    [[]],
  ),
  fc.bigInt(0n, 2n ** 64n - 1n),
);
const field = fc.constantFrom(
  'nonce',
  'count',
  'token',
  'ttlMs',
  'waitedMs',
  'released',
  'exclusive',
  'sequences',
  'held',
  'instance',
  'epoch',
  'version',
  'protocol',
  'code',
  'message',
  'retryAfterMs',
  'account',
  'id',
);

/** What a daemon may answer to any request. */
const say = fc.oneof(
  { weight: 8, arbitrary: fc.record({ say: fc.constant('right' as const), twice: fc.nat(4).map((n) => n === 0) }) },
  { weight: 4, arbitrary: fc.record({ say: fc.constant('nearly-right' as const), field, value: oddValue }) },
  {
    weight: 3,
    arbitrary: fc.record({
      say: fc.constant('refusal' as const),
      code: fc.constantFrom(...ERROR_CODES),
      retryAfterMs: fc.option(fc.constantFrom(0, 50, 1e12), { nil: undefined }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      say: fc.constant('anything' as const),
      result: fc.dictionary(field, oddValue, { maxKeys: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ say: fc.constant('specimen' as const), which: fc.nat(ANSWERS.length - 1) }) },
  {
    weight: 1,
    arbitrary: fc.record({ say: fc.constant('for-another' as const), id: fc.constantFrom(0, 1, 2, 3, 4_294_967_295) }),
  },
  { weight: 1, arbitrary: fc.record({ say: fc.constant('nothing' as const) }) },
);
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('call' as const),
      what: fc.constantFrom('acquire', 'acquire', 'exclusive', 'nonce', 'status', 'next', 'renew', 'release'),
      waitMs: fc.constantFrom(0, 1_000, 30_000),
      abortAfter: fc.option(fc.nat(3), { nil: undefined, freq: 5 }),
    }),
  },
  { weight: 12, arbitrary: fc.record({ do: fc.constant('hear' as const), which: fc.nat(5), say }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 300, 5_001, 20_000) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('revoke' as const), token: fc.constantFrom(1n, 2n, 3n, 2n ** 63n) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('bytes' as const), bytes: fc.uint8Array({ maxLength: 40 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('break' as const),
      held: fc.array(
        fc.record({
          token: fc.bigInt(0n, 6n),
          account: fc.constant('A'),
          id: fc.nat(9),
          ttlMs: fc.constantFrom(0, 1, 5_000, 1e300),
        }),
        { maxLength: 3 },
      ),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;
type Say = typeof say extends fc.Arbitrary<infer S> ? S : never;

class World {
  readonly daemon = new FakeDaemon();
  readonly callers = new Callers();
  /** Nonces that the daemon has really said. */
  readonly said = new Set<bigint>();
  readonly #client: Client;
  readonly #aborts: { readonly controller: AbortController; left: number }[] = [];
  #next = 1n;

  constructor() {
    this.#client = new Client(this.daemon.ports());
  }

  async open(): Promise<void> {
    const opened = this.#client.open(undefined);
    await settle();
    this.daemon.greet();
    await opened;
  }

  async do(what: Step): Promise<void> {
    switch (what.do) {
      case 'call':
        this.#call(what);
        break;
      case 'hear': {
        const [asked] = this.daemon.heard.splice(what.which % Math.max(1, this.daemon.heard.length), 1);
        if (asked !== undefined) this.#say(asked, what.say);
        break;
      }
      case 'pass':
        await this.daemon.clock.advanceSettled(what.ms);
        break;
      case 'revoke':
        this.daemon.line.revoke(what.token);
        break;
      case 'bytes':
        this.#noteNonces(what.bytes);
        this.daemon.line.say(what.bytes);
        break;
      case 'break':
        this.daemon.held = what.held;
        this.daemon.line.break();
        break;
    }
    await settle();
    for (const abort of this.#aborts) if (abort.left-- === 0) abort.controller.abort(new Error('enough'));
    await settle();
  }

  /** All that waits comes to its end, and nothing is left. */
  async expectAllSettled(): Promise<void> {
    await this.daemon.clock.advanceSettled(PAST_EVERY_WAIT_MS);
    // What is bounded by a lease of a hostile TTL ends with the client, as everything does.
    await this.#client.close();
    await settle();
    expect(this.callers.pending).toBe(0);
    expect(this.daemon.clock.timers).toBe(0);
    // It never made one up.
    for (const nonce of this.callers.nonces) expect(this.said.has(nonce), `nonce ${nonce}`).toBe(true);
  }

  #call({ what, waitMs, abortAfter }: Extract<Step, { do: 'call' }>): void {
    const { callers } = this;
    const client = this.#client;
    const controller = new AbortController();
    if (abortAfter !== undefined) this.#aborts.push({ controller, left: abortAfter });
    const { signal } = controller;
    const grant = callers.grants.at(-1);
    if (what === 'acquire') callers.draws(client.acquire({ account: 'A', waitMs, signal }));
    else if (what === 'exclusive')
      callers.watch(client.exclusive({ account: 'A', waitMs, signal, maxHoldMs: 60_000 }, (held) => held.next()));
    else if (what === 'nonce') callers.draws(client.nonce({ waitMs, signal }));
    else if (what === 'status') callers.watch(client.status());
    else if (grant === undefined) return;
    else if (what === 'next') callers.draws(grant.next({ signal }));
    else if (what === 'renew') callers.watch(grant.renew());
    else callers.watch(grant.release('ok'));
  }

  #say(asked: Asked, what: Say): void {
    const { line, id } = asked;
    const right = this.#right(asked);
    switch (what.say) {
      case 'right':
        line.say(msgpackRpc.answer(id, right));
        if (what.twice) line.say(msgpackRpc.answer(id, right));
        return;
      case 'nearly-right':
        this.#answer(asked, { ...right, [what.field]: what.value });
        return;
      case 'refusal':
        asked.refuse(what.code, what.retryAfterMs);
        return;
      case 'anything':
        this.#answer(asked, what.result);
        return;
      case 'specimen': {
        const bytes = answerTo(ANSWERS[what.which]?.bytes ?? Buffer.alloc(0), id);
        this.#noteNonces(bytes);
        line.say(bytes);
        return;
      }
      case 'for-another':
        line.say(msgpackRpc.answer(what.id, right));
        return;
      case 'nothing':
        return;
    }
  }

  #answer(asked: Asked, result: Readonly<Record<string, unknown>>): void {
    const { nonce } = result;
    if (typeof nonce === 'bigint' || typeof nonce === 'number' || typeof nonce === 'string') {
      try {
        this.said.add(BigInt(nonce));
      } catch {
        // That cannot pass for a nonce.
      }
    }
    let bytes: Uint8Array;
    try {
      bytes = msgpackRpc.answer(asked.id, result);
    } catch {
      return;
    }
    asked.line.say(bytes);
  }

  #right({ method, params }: Asked): Record<string, unknown> {
    this.#next += 10n;
    this.said.add(this.#next);
    switch (method) {
      case 'hello':
        return { ...this.daemon.greeting, held: this.daemon.held };
      case 'nonce':
      case 'next':
        return { nonce: this.#next, count: params?.['count'] ?? 1 };
      case 'acquire':
        return { nonce: this.#next, count: 1, token: this.#next % 7n, ttlMs: 20_000, waitedMs: 0 };
      case 'renew':
        return { ttlMs: 20_000 };
      case 'release':
        return { released: true };
      default:
        return { exclusive: 'global', sequences: [] };
    }
  }

  /** Bytes without a sender may hold a grant all the same. */
  #noteNonces(bytes: Uint8Array): void {
    const hex = Buffer.from(bytes).toString('hex');
    for (const [, digits = ''] of hex.matchAll(/(?=a56e6f6e6365cf([0-9a-f]{16}))/g))
      this.said.add(BigInt(`0x${digits}`));
  }
}

test(
  'for any answers of a daemon, each call settles in time, with the answer or a NoncedError, and nothing stays behind',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const world = new World();
        await world.open();
        for (const each of steps) await world.do(each);
        await world.expectAllSettled();
      }),
      runs(150),
    );
  },
  FUZZ_TIMEOUT_MS,
);
