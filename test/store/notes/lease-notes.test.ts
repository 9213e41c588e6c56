import fs, {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Nonce, NotedLease, Token } from '../../../src/core/ports.ts';
import { EXIT } from '../../../src/errors.ts';
import {
  type LeaseNotesOptions,
  notesExist,
  type OpenedNotes,
  openLeaseNotes,
} from '../../../src/store/notes/lease-notes.ts';
import { readLease, writeLease } from '../../../src/store/notes/lease-slot.ts';
import { anyText } from '../../fixtures/any-text.ts';
import { shareOf } from '../../fixtures/effort.ts';
import { asNobody, mountTmpfs, refusalOf, run, scratchDirectory, skipUnlessRoot } from '../scratch.ts';

const BOOT = '6f0f9c1e-7a51-4f7e-9d0b-0e6a1b2c3d4e';
const OTHER_BOOT = '11111111-7a51-4f7e-9d0b-0e6a1b2c3d4e';
const SLOT = 128;

let dir: string;
const notesPath = () => join(dir, 'leases');
beforeEach(() => {
  dir = scratchDirectory();
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** Opens as the next daemon does; the one before may be as dead as it likes. */
function open(options: Partial<LeaseNotesOptions> = {}): OpenedNotes {
  const opened = openLeaseNotes({ dir, bootId: BOOT, monotonicMs: 1000, capacity: 8, ...options });
  onTestFinished(() => opened.close());
  return opened;
}

const lease = (token: number, over: Partial<NotedLease> = {}): NotedLease => ({
  account: 'USER:alice',
  token: token as Token,
  priority: 'normal',
  ttlMs: 20_000,
  expiresAtMs: 21_000.25,
  sessionHash: '00112233445566778899aabbccddeeff',
  requestId: 'a3e5f6d2-4f0c-4c8e-9d57-1f3a5b7c9d0e',
  nonces: undefined,
  label: undefined,
  ...over,
});
const byToken = (leases: readonly NotedLease[]) => [...leases].sort((a, b) => a.token - b.token);

const anyLease: fc.Arbitrary<NotedLease> = fc.record({
  account: fc.stringMatching(/^[A-Za-z0-9._:@-]{1,64}$/),
  token: fc.maxSafeNat().map((n) => Math.max(n, 1) as Token),
  priority: fc.constantFrom('urgent', 'normal', 'background'),
  ttlMs: fc.integer({ min: 1, max: 600_000 }),
  expiresAtMs: fc.double({ min: 0, max: 1e12, noNaN: true }),
  sessionHash: fc.option(fc.stringMatching(/^[0-9a-f]{32}$/), { nil: undefined }),
  requestId: fc.option(fc.oneof(fc.integer(), anyText({ maxLength: 30 })), { nil: undefined }),
  nonces: fc.constant(undefined),
  label: fc.constant(undefined),
});
const anyNonce = fc.bigInt(0n, 2n ** 64n - 1n).map((n) => n as Nonce);

describe('notes', () => {
  test('say the nonces and the label of a call, or, if there is no room for them, nothing of them', () => {
    const anyCall = fc.record({
      noted: anyLease,
      nonces: fc.record({ first: anyNonce, last: anyNonce }),
      label: fc.option(anyText({ maxLength: 64 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(anyCall, ({ noted, nonces, label }) => {
        const bare = Buffer.alloc(SLOT);
        writeLease(bare, noted);
        const slot = Buffer.alloc(SLOT);
        writeLease(slot, { ...noted, nonces, label });
        const found = readLease(slot);
        expect([nonces, undefined]).toContainEqual(found?.nonces);
        expect([label, undefined]).toContainEqual(found?.label);
        expect({ ...found, nonces: undefined, label: undefined }).toEqual(readLease(bare));
      }),
    );
    const kraken = Buffer.alloc(SLOT);
    const call = { nonces: { first: 5n as Nonce, last: 7n as Nonce }, label: 'AddOrder XBTEUR, ä' };
    writeLease(kraken, lease(1, { account: 'MASTER', requestId: 4711, ...call }));
    expect(readLease(kraken)).toMatchObject(call);
  });

  test('of the first daemon of a boot are empty, whole and private', () => {
    const { notes, found } = open();
    expect(found).toEqual({ leases: [], damaged: false });
    expect(notes.capacity).toBe(8);
    expect(statSync(notesPath())).toMatchObject({ size: 9 * SLOT, mode: 0o100600 });
    // Every byte has its room already: a note can never want for it.
    expect(statSync(notesPath()).blocks * 512).toBeGreaterThanOrEqual(9 * SLOT);
    expect(readdirSync(dir)).toEqual(['leases']);
  });

  test('I4: are found by the next daemon, and by the one after it, until they are struck', () => {
    const first = open();
    for (const token of [11, 12, 13]) first.notes.note(lease(token));
    first.notes.strike(12 as Token);
    const second = open();
    expect(second.found).toEqual({ leases: [lease(11), lease(13)], damaged: false });
    const third = open();
    expect(third.found).toEqual(second.found);
    third.notes.strike(11 as Token);
    third.notes.note(lease(14));
    expect(byToken(open().found.leases)).toEqual([lease(13), lease(14)]);
  });

  test('are read back as they were noted, with any content', () => {
    fc.assert(
      fc.property(fc.uniqueArray(anyLease, { selector: ({ token }) => token, maxLength: 8 }), (leases) => {
        fs.rmSync(notesPath(), { force: true });
        const first = openLeaseNotes({ dir, bootId: BOOT, monotonicMs: 0, capacity: 8 });
        for (const one of leases) first.notes.note(one);
        first.close();
        const second = openLeaseNotes({ dir, bootId: BOOT, monotonicMs: 0, capacity: 8 });
        second.close();
        expect(second.found.damaged).toBe(false);
        const fits = ({ account, requestId }: NotedLease) =>
          typeof requestId !== 'string' || Buffer.byteLength(requestId) <= 84 - account.length;
        const expected = leases.map((one) => (fits(one) ? one : { ...one, requestId: undefined }));
        expect(byToken(second.found.leases)).toEqual(byToken(expected));
      }),
      { numRuns: shareOf(1_000) },
    );
  });

  test('I4: agree with a plain map after any series of notes, renewals, strikes and crashes', () => {
    const token = fc.integer({ min: 1, max: 12 });
    const step = fc.oneof(
      fc.record({ kind: fc.constant('note' as const), token, expiresAtMs: fc.nat() }),
      fc.record({ kind: fc.constant('strike' as const), token }),
      fc.record({ kind: fc.constant('crash' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        fs.rmSync(notesPath(), { force: true });
        const alive = new Map<number, NotedLease>();
        let opened = openLeaseNotes({ dir, bootId: BOOT, monotonicMs: 0, capacity: 6 });
        for (const one of steps) {
          if (one.kind === 'note') {
            const noted = lease(one.token, { expiresAtMs: one.expiresAtMs });
            if (alive.size === 6 && !alive.has(one.token)) {
              expect(() => opened.notes.note(noted)).toThrow('all 6 slots for leases are in use');
            } else {
              opened.notes.note(noted);
              alive.set(one.token, noted);
            }
          } else if (one.kind === 'strike') {
            opened.notes.strike(one.token as Token);
            alive.delete(one.token);
          } else {
            opened.close();
            opened = openLeaseNotes({ dir, bootId: BOOT, monotonicMs: 0, capacity: 6 });
            expect(opened.found.damaged).toBe(false);
            expect(byToken(opened.found.leases)).toEqual(byToken([...alive.values()]));
          }
        }
        opened.close();
      }),
    );
  });

  test('cost one write of one slot each, and a slot that was struck is the next to be used', () => {
    const writes: [position: number, bytes: number][] = [];
    const { notes } = open({
      writeAt: (descriptor, slot, position) => {
        const written = writeSync(descriptor, slot, 0, slot.length, position);
        writes.push([position, written]);
        return written;
      },
    });
    notes.note(lease(1));
    notes.note(lease(2));
    notes.note(lease(1, { expiresAtMs: 99 }));
    notes.strike(1 as Token);
    notes.strike(1 as Token);
    notes.strike(77 as Token);
    notes.note(lease(3));
    expect(writes).toEqual([1, 2, 1, 1, 1].map((slot) => [slot * SLOT, SLOT]));
    expect(byToken(open().found.leases)).toEqual([lease(2), lease(3)]);
  });

  test('leave out an id that does not fit or that is half a character, and keep the lease', () => {
    const { notes } = open();
    const account = 'A'.repeat(64);
    const ids = ['x'.repeat(21), '\ud800', 'ü'.repeat(11), '', 'x'.repeat(20), 0, -5, 2 ** 53 - 1];
    for (const [n, requestId] of ids.entries()) notes.note(lease(n + 1, { account, requestId }));
    expect(open().found.leases.map(({ requestId }) => requestId)).toEqual([
      undefined,
      undefined,
      undefined,
      ...ids.slice(3),
    ]);
  });

  test('refuse a lease that could not be read back, and stay as they were', () => {
    const { notes } = open();
    for (const over of [
      { account: '' },
      { account: 'A'.repeat(65) },
      { account: 'ü' },
      { token: 0 as Token },
      { sessionHash: 'xy' },
    ]) {
      expect(() => notes.note(lease(5, over)), JSON.stringify(over)).toThrow(RangeError);
    }
    expect(open().found).toEqual({ leases: [], damaged: false });
  });

  test('throw when a write fails or is cut short, and the slot is used by the next one', () => {
    const writeAt = vi.fn((descriptor: number, slot: Buffer, position: number) =>
      writeSync(descriptor, slot, 0, slot.length, position),
    );
    const { notes } = open({ writeAt });
    writeAt.mockReturnValueOnce(100);
    expect(() => notes.note(lease(1))).toThrow('cut short');
    writeAt.mockImplementationOnce(() => {
      throw new Error('EIO');
    });
    expect(() => notes.note(lease(1))).toThrow('EIO');
    notes.note(lease(2));
    writeAt.mockReturnValueOnce(0);
    expect(() => notes.strike(2 as Token)).toThrow('cut short');
    notes.strike(2 as Token);
    expect(writeAt.mock.calls.map(([, , position]) => position)).toEqual([SLOT, SLOT, SLOT, SLOT, SLOT]);
  });

  test('on a disk that is full later are kept all the same, for their room is taken at the start', (context) => {
    dir = mountTmpfs(context, 'size=64k');
    const { notes } = open({ capacity: 128 });
    run('dd', 'if=/dev/zero', `of=${join(dir, 'filler')}`, 'bs=4k');
    for (let token = 1; token <= 128; token++) notes.note(lease(token));
    expect(open({ capacity: 128 }).found).toMatchObject({ damaged: false, leases: { length: 128 } });
  });

  test('on a disk that is full at the start are an exit code that may pass, with nothing left behind', (context) => {
    dir = mountTmpfs(context, 'size=64k');
    expect(refusalOf(() => open({ capacity: 4096 })).exitCode).toBe(EXIT.tempFail);
    expect(readdirSync(dir)).toEqual([]);
  });

  test('I4: far behind thousands of free slots are found too', () => {
    const { notes } = open({ capacity: 4096 });
    for (let token = 1; token <= 4096; token++) notes.note(lease(token));
    expect(() => notes.note(lease(4097))).toThrow('all 4096 slots');
    const kept = [33, 2000, 4096];
    for (let token = 1; token <= 4096; token++) if (!kept.includes(token)) notes.strike(token as Token);
    expect(open({ capacity: 4096 }).found).toEqual({ leases: kept.map((token) => lease(token)), damaged: false });
  });

  test('of another capacity are made again with all leases, even more than were asked for', () => {
    const first = open();
    for (let token = 1; token <= 8; token++) first.notes.note(lease(token));
    const larger = open({ capacity: 16 });
    expect(larger.notes.capacity).toBe(16);
    expect(larger.found).toMatchObject({ damaged: false, leases: { length: 8 } });
    larger.notes.note(lease(9));
    const smaller = open({ capacity: 4 });
    expect(smaller.notes.capacity).toBe(9);
    expect(smaller.found).toMatchObject({ damaged: false, leases: { length: 9 } });
    expect(open({ capacity: 4 }).found.leases).toHaveLength(9);
  });
});

describe('another boot', () => {
  test('ignores the notes and begins with its own', () => {
    open().notes.note(lease(1));
    expect(open({ bootId: OTHER_BOOT }).found).toEqual({ leases: [], damaged: false });
    expect(open().found).toEqual({ leases: [], damaged: false });
  });

  test('I9: is distinguished from this one if notes without a state are the sign of a loss', () => {
    expect(notesExist(dir, BOOT)).toBe(false);
    open();
    expect(notesExist(dir, BOOT)).toBe(true);
    expect(notesExist(dir, OTHER_BOOT)).toBe(false);
    truncateSync(notesPath(), 100);
    expect(notesExist(dir, OTHER_BOOT)).toBe(true);
  });
});

describe('damage', () => {
  function noted(): Buffer {
    fs.rmSync(notesPath(), { force: true });
    const { notes, close } = openLeaseNotes({ dir, bootId: BOOT, monotonicMs: 0, capacity: 8 });
    for (const token of [1, 2, 3]) notes.note(lease(token));
    close();
    return readFileSync(notesPath());
  }
  function reopen(monotonicMs = 0) {
    const opened = openLeaseNotes({ dir, bootId: BOOT, monotonicMs, capacity: 8 });
    opened.close();
    return opened.found;
  }

  test('I4: of any byte of a slot is reported, and the other notes are found', () => {
    const whole = noted();
    for (let at = 0; at < SLOT; at++) {
      for (const mask of [0x01, 0x80, 0xff]) {
        const damaged = Buffer.from(whole);
        damaged[2 * SLOT + at] = (damaged[2 * SLOT + at] ?? 0) ^ mask;
        writeFileSync(notesPath(), damaged);
        expect(reopen(), `byte ${at}`).toEqual({ leases: [lease(1), lease(3)], damaged: true });
      }
    }
  });

  test('I4: of any byte of a free slot is reported', () => {
    const whole = noted();
    for (let at = 0; at < SLOT; at++) {
      const damaged = Buffer.from(whole);
      damaged[6 * SLOT + at] = 1;
      writeFileSync(notesPath(), damaged);
      expect(reopen(), `byte ${at}`).toMatchObject({ damaged: true, leases: { length: 3 } });
    }
  });

  test('I4: of any byte of the header is reported, and the notes count as this boot’s', () => {
    const whole = noted();
    for (let at = 0; at < SLOT; at++) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      writeFileSync(notesPath(), damaged);
      expect(reopen(), `byte ${at}`).toMatchObject({ damaged: true, leases: { length: 3 } });
    }
  });

  test('I4: a file of any shorter length, or longer, is reported, and what is whole in it is found', () => {
    const whole = noted();
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(notesPath(), whole.subarray(0, length));
      const expected = Math.min(Math.max(Math.floor(length / SLOT) - 1, 0), 3);
      expect(reopen(), `length ${length}`).toMatchObject({ damaged: true, leases: { length: expected } });
    }
    writeFileSync(notesPath(), Buffer.concat([whole, Buffer.alloc(1)]));
    expect(reopen()).toMatchObject({ damaged: true, leases: { length: 3 } });
  }, 30_000);

  test('I4: one token in two slots is reported and found once', () => {
    const whole = noted();
    whole.copy(whole, 5 * SLOT, 2 * SLOT, 3 * SLOT);
    writeFileSync(notesPath(), whole);
    expect(reopen()).toEqual({ leases: [lease(1), lease(2), lease(3)], damaged: true });
  });

  test('I4: is remembered over a second crash until the longest lease has ended, and then forgotten', () => {
    const damaged = noted();
    damaged[2 * SLOT + 5] = 0xee;
    writeFileSync(notesPath(), damaged);
    expect(reopen(5000)).toMatchObject({ damaged: true, leases: { length: 2 } });
    expect(reopen(6000)).toMatchObject({ damaged: true, leases: { length: 2 } });
    expect(reopen(5000 + 599_999)).toMatchObject({ damaged: true, leases: { length: 2 } });
    // Counted from the damage: restarts in between do not put it off.
    expect(reopen(5000 + 600_000)).toMatchObject({ damaged: false, leases: { length: 2 } });
  });

  test('I4: is found again if the daemon dies while it makes the notes again', () => {
    const damaged = noted();
    damaged[2 * SLOT + 5] = 0xee;
    writeFileSync(notesPath(), damaged);
    // As a crash leaves it between the writing of the new file and its renaming.
    writeFileSync(join(dir, 'leases.new'), damaged.subarray(0, 300));
    const opened = open();
    expect(opened.found).toMatchObject({ damaged: true, leases: { length: 2 } });
    expect(existsSync(join(dir, 'leases.new'))).toBe(false);
    opened.notes.note(lease(9));
    expect(open().found).toMatchObject({ damaged: true, leases: { length: 3 } });
  });
});

describe('a planted file', () => {
  test('in place of the notes is refused by name, and left alone', () => {
    const elsewhere = join(dir, 'elsewhere');
    writeFileSync(elsewhere, 'precious');
    symlinkSync(elsewhere, notesPath());
    const refusals = () => [refusalOf(() => open()), refusalOf(() => notesExist(dir, BOOT))];
    for (const { exitCode, message } of refusals()) {
      expect(exitCode).toBe(EXIT.config);
      expect(message).toContain(`${notesPath()} is a symbolic link`);
    }
    expect(readFileSync(elsewhere, 'utf8')).toBe('precious');
    fs.unlinkSync(notesPath());
    mkdirSync(notesPath());
    for (const { exitCode } of refusals()) expect(exitCode).toBe(EXIT.config);
    fs.rmdirSync(notesPath());
    run('mkfifo', '-m', '600', notesPath());
    for (const { exitCode } of refusals()) expect(exitCode).toBe(EXIT.config);
    fs.unlinkSync(notesPath());
    writeFileSync(notesPath(), '');
    truncateSync(notesPath(), 1024 ** 4);
    for (const { exitCode } of refusals()) expect(exitCode).toBe(EXIT.config);
  });

  test('that others may write to, or that is another user’s, is refused', (context) => {
    open();
    chmodSync(notesPath(), 0o622);
    expect(refusalOf(() => open())).toMatchObject({ exitCode: EXIT.config });
    chmodSync(notesPath(), 0o600);
    skipUnlessRoot(context, 'gives a file away');
    chownSync(notesPath(), 65_534, 65_534);
    expect(refusalOf(() => open()).message).toContain('belongs to user 65534');
  });

  test('under the name of the file that is made again is replaced, not written through', () => {
    const elsewhere = join(dir, 'elsewhere');
    writeFileSync(elsewhere, 'precious');
    symlinkSync(elsewhere, join(dir, 'leases.new'));
    expect(open().found.damaged).toBe(false);
    expect(readFileSync(elsewhere, 'utf8')).toBe('precious');
  });

  test('that may not be opened is a matter of permission', async (context) => {
    skipUnlessRoot(context, 'becomes another user');
    open();
    chmodSync(dir, 0o755);
    const failure = await asNobody(() => refusalOf(() => open()));
    expect(failure).toMatchObject({ exitCode: EXIT.noPermission });
    expect(failure.message).toContain(notesPath());
  });
});
