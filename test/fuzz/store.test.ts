import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { DurableState, NotedAccount, NotedLease } from '../../src/core/ports.ts';
import { EXIT, ExitError } from '../../src/errors.ts';
import { openAccountNotes } from '../../src/store/notes/account-notes.ts';
import { openLeaseNotes } from '../../src/store/notes/lease-notes.ts';
import { SLOT_BYTES, seal, writeHeader } from '../../src/store/notes/slot-format.ts';
import { readStateFile, salvageStateFile } from '../../src/store/state/state-file.ts';
import { serialiseState } from '../../src/store/state/state-format.ts';
import { Machine } from '../core/simulation.ts';
import { IDENTITY, NS, scratchDirectory, stateWith } from '../store/scratch.ts';
import { FUZZ_TIMEOUT_MS, runs } from './runs.ts';

let dir: string;
beforeEach(() => {
  dir = scratchDirectory();
});

/** Returns what `read` returns; undefined if it refuses with an exit code. */
function readOrRefused<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    expect(error.exitCode).toBe(EXIT.config);
    expect(error.message).not.toMatch(/[\r\n]/);
    return undefined;
  }
}

/** Some bytes with some of them changed, left out or doubled. */
function damaged(bytes: Buffer): fc.Arbitrary<Buffer> {
  const at = fc.nat(bytes.length - 1);
  const change = fc.oneof(
    fc.tuple(at, fc.nat(255)).map(
      ([where, byte]) =>
        (b: Buffer) =>
          Buffer.concat([b.subarray(0, where), Buffer.of(byte), b.subarray(where + 1)]),
    ),
    fc.tuple(at, at).map(
      ([from, to]) =>
        (b: Buffer) =>
          Buffer.concat([b.subarray(0, from), b.subarray(to)]),
    ),
    at.map((where) => (b: Buffer) => b.subarray(0, where)),
    fc.tuple(at, fc.uint8Array({ maxLength: 20 })).map(
      ([where, more]) =>
        (b: Buffer) =>
          Buffer.concat([b.subarray(0, where), more, b.subarray(where)]),
    ),
  );
  return fc
    .array(change, { minLength: 1, maxLength: 3 })
    .map((changes) => changes.reduce((b, apply) => apply(b), bytes));
}

describe('a state file', () => {
  const valid = serialiseState({
    ...IDENTITY,
    state: {
      ...stateWith({ default: NS, other: { ...NS, unit: 'ms' } }),
      accounts: new Map([['A', { sequence: 'default', paused: true }]]),
    },
    extra: {},
    sequenceExtra: {},
  });

  function write(bytes: Uint8Array): void {
    writeFileSync(join(dir, 'state.json'), bytes, { mode: 0o600 });
  }

  /** Runs a daemon on what was read: it starts, draws, and never goes below that. */
  async function runsOn(state: DurableState): Promise<void> {
    if (state.sequences['default'] === undefined || state.sequences['#tokens'] === undefined) return;
    const machine = Machine.unstarted({ state });
    await machine.start();
    const bot = machine.connect();
    const id = bot.acquire({ account: 'A' });
    await machine.advance(60_000);
    expect(bot.answer(id)).toBeDefined();
  }

  test(
    'of any bytes is read whole or refused, and never anything else',
    async () => {
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b)),
        damaged(valid).filter((bytes) => !bytes.equals(valid)),
        fc.json().map((json) => Buffer.from(json)),
      );
      await fc.assert(
        fc.property(bytes, (content) => {
          write(content);
          expect(readOrRefused(() => readStateFile(dir))).toBeUndefined();
          readOrRefused(() => salvageStateFile(dir));
        }),
        {
          ...runs(150),
          examples: [[Buffer.alloc(0)], [Buffer.from('['.repeat(100_000))], [Buffer.alloc(1024 * 1024)]],
        },
      );
    },
    FUZZ_TIMEOUT_MS,
  );

  test(
    'with a right checksum and any fields is read whole or refused, and a daemon runs on what was read',
    async () => {
      const digits = fc.constantFrom(
        '0',
        '1',
        '-1',
        '01',
        '1e3',
        '18446744073709551616',
        '18446744073709551617',
        '9223372036854775807',
        '9007199254740991',
        '1790000000000000000',
        '',
        'x',
      );
      const odd = fc.oneof(fc.constantFrom<unknown>(null, true, 0, -1, 1.5, 1e300, '', [], {}), digits);
      const name = fc.constantFrom(
        'default',
        '#tokens',
        'other',
        '__proto__',
        'constructor',
        '',
        '*',
        'a b',
        'x'.repeat(129),
      );
      const sequence = fc.record(
        { unit: fc.oneof(fc.constantFrom('ns', 'us', 'ms', 's', 'counter'), odd), ceiling: digits, max: digits },
        { requiredKeys: [] },
      );
      const sequences = fc
        .array(fc.tuple(name, fc.oneof({ weight: 6, arbitrary: sequence }, odd)), { maxLength: 4 })
        .map((entries) => Object.fromEntries(entries));
      const rest = fc.record(
        {
          epoch: odd,
          seenWallMs: odd,
          exclusive: fc.oneof(fc.constantFrom('global', 'account', 'off'), odd),
          bootAnchor: fc.oneof(fc.record({ bootId: fc.constantFrom('a', '', 1), wallMs: odd, uptimeMs: odd }), odd),
          accounts: fc.oneof(fc.dictionary(name, name), odd),
          paused: fc.oneof(fc.array(name), odd),
          machine: odd,
          retiredAtMs: odd,
          sequences,
          __proto__: fc.constant(null),
        },
        { requiredKeys: [] },
      );
      const base = JSON.parse(valid.toString()) as Record<string, unknown>;
      delete base['checksum'];
      base['sequences'] = {
        ...(base['sequences'] as object),
        '#tokens': { unit: 'us', ceiling: '1790000000000000', max: '9007199254740991' },
      };
      let read = 0;
      await fc.assert(
        fc.asyncProperty(rest, async (changes) => {
          const text = (of: object) => `${JSON.stringify(of, null, 2)}\n`;
          const body = { ...base, ...changes };
          write(Buffer.from(text({ ...body, checksum: createHash('sha256').update(text(body)).digest('hex') })));
          const reading = readOrRefused(() => readStateFile(dir));
          if (reading?.kind !== 'state') return;
          read += 1;
          const { state, bytes, ...identity } = { ...reading.state, bytes: reading.bytes };
          expect(serialiseState({ ...identity, state }).equals(bytes)).toBe(true);
          await runsOn(state);
        }),
        { ...runs(150), examples: [[{}]] },
      );
      expect(read).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('notes', () => {
  const BOOT = 'this-boot';
  const NOW_MS = 1_000_000;
  const CAPACITY = 4;
  const options = () => ({ dir, bootId: BOOT, monotonicMs: NOW_MS, capacity: CAPACITY });
  const MAGIC = { leases: 'nonced L', accounts: 'nonced A' } as const;

  function put(kind: keyof typeof MAGIC, bytes: Uint8Array): void {
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir, { mode: 0o700 });
    writeFileSync(join(dir, kind), bytes, { mode: 0o600 });
  }

  function header(kind: keyof typeof MAGIC): Buffer {
    const bytes = Buffer.alloc(SLOT_BYTES);
    writeHeader(bytes, MAGIC[kind], { bootId: BOOT, capacity: CAPACITY, doubtUntilMs: 0 });
    return bytes;
  }

  /** A file as a daemon leaves it. */
  function written(kind: keyof typeof MAGIC): Buffer {
    const slots = Buffer.alloc(CAPACITY * SLOT_BYTES);
    for (let slot = 0; slot < CAPACITY; slot += 1) {
      const at = slots.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES);
      at.writeBigUInt64LE(BigInt(slot + 1), 0);
      at.writeDoubleLE(NOW_MS + 500, 8);
      seal(at);
    }
    return Buffer.concat([header(kind), slots]);
  }

  /** A daemon takes up what was found, and comes to rest. */
  async function takesUp(leases: readonly NotedLease[], accounts: readonly NotedAccount[]): Promise<void> {
    const machine = Machine.unstarted();
    for (const lease of leases) machine.notes.slots.set(lease.token, lease);
    for (const account of accounts) machine.accountNotes.slots.set(account.account, account);
    await machine.start();
    const bot = machine.connect('bot', '0'.repeat(32));
    machine.broker.status();
    for (const { account } of [...leases, ...accounts]) machine.broker.why(account);
    const id = bot.acquire({ account: 'A', waitMs: 600_000 });
    await machine.advance(600_001);
    expect(bot.answer(id)).toBeDefined();
  }

  const anything = (kind: keyof typeof MAGIC) =>
    fc.oneof(
      fc.uint8Array({ maxLength: 700 }).map((bytes) => Buffer.from(bytes)),
      damaged(written(kind)),
      fc.uint8Array({ maxLength: 600 }).map((rest) => Buffer.concat([header(kind), rest])),
    );

  test(
    'of leases, of any bytes, are opened',
    async () => {
      await fc.assert(
        fc.asyncProperty(anything('leases'), async (bytes) => {
          put('leases', bytes);
          const opened = openLeaseNotes(options());
          opened.close();
          await takesUp(opened.found.leases, []);
        }),
        runs(80),
      );
    },
    FUZZ_TIMEOUT_MS,
  );

  test(
    'of accounts, of any bytes, are opened',
    async () => {
      await fc.assert(
        fc.asyncProperty(anything('accounts'), async (bytes) => {
          put('accounts', bytes);
          const opened = openAccountNotes(options());
          opened.close();
          await takesUp([], opened.found.accounts);
        }),
        runs(80),
      );
    },
    FUZZ_TIMEOUT_MS,
  );

  /** Slots that say anything at all, under a right checksum: of a later version, say. */
  const sealed = (kind: keyof typeof MAGIC) =>
    fc
      .array(
        fc.array(fc.tuple(fc.nat(SLOT_BYTES - 5), fc.constantFrom(0, 1, 2, 3, 4, 7, 0x40, 0x41, 0x7f, 0xf0, 0xff)), {
          maxLength: 12,
        }),
        { minLength: 1, maxLength: CAPACITY },
      )
      .map((slots) => {
        const bytes = slots.map((changes) => {
          const slot = written(kind).subarray(SLOT_BYTES, 2 * SLOT_BYTES);
          slot.write('A', kind === 'leases' ? 40 : 58);
          slot.writeUInt8(1, kind === 'leases' ? 22 : 57);
          for (const [at, byte] of changes) slot[at] = byte;
          seal(slot);
          return slot;
        });
        return Buffer.concat([header(kind), ...bytes]);
      });

  test(
    'of leases, of any slots whose checksums hold, are opened',
    async () => {
      await fc.assert(
        fc.asyncProperty(sealed('leases'), async (bytes) => {
          put('leases', bytes);
          const opened = openLeaseNotes(options());
          opened.close();
          await takesUp(opened.found.leases, []);
        }),
        runs(80),
      );
    },
    FUZZ_TIMEOUT_MS,
  );

  test(
    'of accounts, of any slots whose checksums hold, are opened',
    async () => {
      await fc.assert(
        fc.asyncProperty(sealed('accounts'), async (bytes) => {
          put('accounts', bytes);
          const opened = openAccountNotes(options());
          opened.close();
          await takesUp([], opened.found.accounts);
        }),
        runs(80),
      );
    },
    FUZZ_TIMEOUT_MS,
  );
});
