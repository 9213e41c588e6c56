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
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { NotedAccount, NotedBreaker } from '../../../src/core/ports.ts';
import { EXIT } from '../../../src/errors.ts';
import {
  type AccountNotesOptions,
  LONGEST_DRAIN_MS,
  type OpenedAccountNotes,
  openAccountNotes,
} from '../../../src/store/notes/account-notes.ts';
import { openLeaseNotes } from '../../../src/store/notes/lease-notes.ts';
import { seal } from '../../../src/store/notes/slot-format.ts';
import { shareOf } from '../../fixtures/effort.ts';
import { asNobody, mountTmpfs, refusalOf, run, scratchDirectory, skipUnlessRoot } from '../scratch.ts';

const BOOT = '6f0f9c1e-7a51-4f7e-9d0b-0e6a1b2c3d4e';
const OTHER_BOOT = '11111111-7a51-4f7e-9d0b-0e6a1b2c3d4e';
const SLOT = 128;
/** Long after the first start of the boot, whose doubt is over by now. */
const LATER_MS = 1000 + LONGEST_DRAIN_MS;

let dir: string;
const notesPath = () => join(dir, 'accounts');
beforeEach(() => {
  dir = scratchDirectory();
});

/** Opens as the next daemon does; the one before may be as dead as it likes. */
function open(options: Partial<AccountNotesOptions> = {}): OpenedAccountNotes {
  const opened = openAccountNotes({ dir, bootId: BOOT, monotonicMs: LATER_MS, capacity: 8, ...options });
  onTestFinished(() => opened.close());
  return opened;
}

/** The first start of a boot. A start later than the doubt finds the notes complete. */
const first = () => open({ monotonicMs: 1000 });

const CLOSED: NotedBreaker = {
  openFor: undefined,
  openedAtMs: 0,
  probeAtMs: 0,
  urgentAtMs: 0,
  probeEveryMs: 0,
  inARow: 0,
  recent: 0,
};
const noted = (account: string, over: Partial<NotedAccount> = {}): NotedAccount => ({
  account,
  level: 7.25,
  atMs: 900.5,
  breaker: CLOSED,
  ...over,
});
const byName = (accounts: readonly NotedAccount[]) => [...accounts].sort((a, b) => (a.account < b.account ? -1 : 1));

const past = fc.double({ min: 0, max: 1e9, noNaN: true }).map((ms) => ms + 0);
const anyTime = fc.double({ noNaN: true, noDefaultInfinity: true });
const anyAccount: fc.Arbitrary<NotedAccount> = fc.record({
  account: fc.stringMatching(/^[A-Za-z0-9._:@-]{1,64}$/),
  level: fc.double({ min: 0, max: 1e6, noNaN: true }),
  atMs: past,
  breaker: fc.record({
    openFor: fc.constantFrom(undefined, 'invalid-nonce', 'locked-out'),
    openedAtMs: past,
    probeAtMs: anyTime,
    urgentAtMs: anyTime,
    probeEveryMs: anyTime,
    inARow: fc.nat(),
    recent: fc.integer({ min: 0, max: 2 ** 20 - 1 }),
  }),
});

describe('notes', () => {
  test('of the first daemon of a boot are empty, incomplete and private', () => {
    const { notes, found } = first();
    expect(found).toEqual({ accounts: [], complete: false });
    expect(notes.capacity).toBe(8);
    expect(statSync(notesPath())).toMatchObject({ size: 9 * SLOT, mode: 0o100600 });
    // Every byte has its room already: a note can never want for it.
    expect(statSync(notesPath()).blocks * 512).toBeGreaterThanOrEqual(9 * SLOT);
    expect(readdirSync(dir)).toEqual(['accounts']);
  });

  test('are 1,024 where nothing else is asked for', () => {
    const { notes, close } = openAccountNotes({ dir, bootId: BOOT, monotonicMs: 0 });
    close();
    expect(notes.capacity).toBe(1024);
  });

  test('are found by the next daemon, and by the one after it, until they are struck', () => {
    const one = first();
    for (const account of ['A', 'B', 'C']) one.notes.note(noted(account));
    one.notes.note(noted('C', { level: 3 }));
    one.notes.strike('B');
    const second = open();
    expect(second.found).toEqual({ accounts: [noted('A'), noted('C', { level: 3 })], complete: true });
    const third = open();
    expect(third.found).toEqual(second.found);
    third.notes.strike('A');
    third.notes.note(noted('D'));
    expect(byName(open().found.accounts)).toEqual([noted('C', { level: 3 }), noted('D')]);
  });

  test('are read back as they were noted, with any content', () => {
    fc.assert(
      fc.property(fc.uniqueArray(anyAccount, { selector: ({ account }) => account, maxLength: 8 }), (accounts) => {
        fs.rmSync(notesPath(), { force: true });
        const before = openAccountNotes({ dir, bootId: BOOT, monotonicMs: 1000, capacity: 8 });
        for (const one of accounts) before.notes.note(one);
        before.close();
        const after = openAccountNotes({ dir, bootId: BOOT, monotonicMs: 1e9 + LATER_MS, capacity: 8 });
        after.close();
        expect(after.found.complete).toBe(true);
        expect(byName(after.found.accounts)).toEqual(byName(accounts));
      }),
      { numRuns: shareOf(1_000) },
    );
  });

  test('agree with a plain map after any series of notes, strikes and crashes', () => {
    const account = fc.integer({ min: 1, max: 12 }).map((n) => `USER:${n}`);
    const step = fc.oneof(
      fc.record({ kind: fc.constant('note' as const), account, level: fc.nat() }),
      fc.record({ kind: fc.constant('strike' as const), account }),
      fc.record({ kind: fc.constant('crash' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        fs.rmSync(notesPath(), { force: true });
        const remembered = new Map<string, NotedAccount>();
        let opened = openAccountNotes({ dir, bootId: BOOT, monotonicMs: 1000, capacity: 6 });
        for (const one of steps) {
          if (one.kind === 'note') {
            const note = noted(one.account, { level: one.level });
            if (remembered.size === 6 && !remembered.has(one.account)) {
              expect(() => opened.notes.note(note)).toThrow('all 6 slots for accounts are in use');
            } else {
              opened.notes.note(note);
              remembered.set(one.account, note);
            }
          } else if (one.kind === 'strike') {
            opened.notes.strike(one.account);
            remembered.delete(one.account);
          } else {
            opened.close();
            opened = openAccountNotes({ dir, bootId: BOOT, monotonicMs: LATER_MS, capacity: 6 });
            expect(opened.found.complete).toBe(true);
            expect(byName(opened.found.accounts)).toEqual(byName([...remembered.values()]));
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
    notes.note(noted('A'));
    notes.note(noted('B'));
    notes.note(noted('A', { level: 1 }));
    notes.strike('A');
    notes.strike('A');
    notes.strike('nobody');
    notes.note(noted('C'));
    expect(writes).toEqual([1, 2, 1, 1, 1].map((slot) => [slot * SLOT, SLOT]));
    expect(byName(open().found.accounts)).toEqual([noted('B'), noted('C')]);
  });

  test('refuse an account that could not be read back, and stay as they were', () => {
    const { notes } = first();
    const breaker = (over: Partial<NotedBreaker>) => ({ breaker: { ...CLOSED, ...over } });
    for (const over of [
      { account: '' },
      { account: 'A'.repeat(65) },
      { account: 'ü' },
      { level: -1 },
      { level: Number.NaN },
      { level: Number.POSITIVE_INFINITY },
      { atMs: Number.NaN },
      breaker({ probeAtMs: Number.POSITIVE_INFINITY }),
      breaker({ urgentAtMs: Number.NaN }),
      breaker({ inARow: -1 }),
      breaker({ recent: 2 ** 32 }),
    ]) {
      expect(() => notes.note(noted('A', over)), JSON.stringify(over)).toThrow(RangeError);
    }
    expect(open().found).toEqual({ accounts: [], complete: true });
  });

  test('throw when a write fails or is cut short, and the slot is used by the next one', () => {
    const writeAt = vi.fn((descriptor: number, slot: Buffer, position: number) =>
      writeSync(descriptor, slot, 0, slot.length, position),
    );
    const { notes } = open({ writeAt });
    writeAt.mockReturnValueOnce(100);
    expect(() => notes.note(noted('A'))).toThrow('cut short');
    writeAt.mockImplementationOnce(() => {
      throw new Error('EIO');
    });
    expect(() => notes.note(noted('A'))).toThrow('EIO');
    notes.note(noted('B'));
    writeAt.mockReturnValueOnce(0);
    expect(() => notes.strike('B')).toThrow('cut short');
    notes.strike('B');
    expect(writeAt.mock.calls.map(([, , position]) => position)).toEqual([SLOT, SLOT, SLOT, SLOT, SLOT]);
  });

  test('on a disk that is full later are kept all the same, for their room is taken at the start', (context) => {
    dir = mountTmpfs(context, 'size=64k');
    const { notes } = open({ capacity: 128, monotonicMs: 1000 });
    run('dd', 'if=/dev/zero', `of=${join(dir, 'filler')}`, 'bs=4k');
    for (let n = 1; n <= 128; n++) notes.note(noted(`USER:${n}`));
    fs.unlinkSync(join(dir, 'filler'));
    expect(open({ capacity: 128 }).found).toMatchObject({ complete: true, accounts: { length: 128 } });
  });

  test('on a disk that is full at the start are an exit code that may pass, with nothing left behind', (context) => {
    dir = mountTmpfs(context, 'size=64k');
    expect(refusalOf(() => open({ capacity: 1024 })).exitCode).toBe(EXIT.tempFail);
    expect(readdirSync(dir)).toEqual([]);
  });

  test('of another capacity are made again with all accounts, even more than were asked for, and stay complete', () => {
    const { notes } = first();
    for (let n = 1; n <= 8; n++) notes.note(noted(`USER:${n}`));
    const larger = open({ capacity: 16 });
    expect(larger.notes.capacity).toBe(16);
    expect(larger.found).toMatchObject({ complete: true, accounts: { length: 8 } });
    larger.notes.note(noted('USER:9'));
    const smaller = open({ capacity: 4 });
    expect(smaller.notes.capacity).toBe(9);
    expect(smaller.found).toMatchObject({ complete: true, accounts: { length: 9 } });
  });

  test('of accounts and of leases in one directory do not meet', () => {
    const { notes } = first();
    notes.note(noted('A'));
    const leases = openLeaseNotes({ dir, bootId: BOOT, monotonicMs: 1000, capacity: 8 });
    leases.close();
    expect(leases.found).toEqual({ leases: [], damaged: false });
    expect(readdirSync(dir).sort()).toEqual(['accounts', 'leases']);
    fs.renameSync(join(dir, 'leases'), notesPath());
    expect(open().found).toEqual({ accounts: [], complete: false });
  });
});

describe('another boot', () => {
  test('finds no account and nothing complete, because what the exchange still counts was not noted', () => {
    first().notes.note(noted('A'));
    expect(open().found.complete).toBe(true);
    expect(open({ bootId: OTHER_BOOT }).found).toEqual({ accounts: [], complete: false });
    expect(open().found).toEqual({ accounts: [], complete: false });
  });
});

describe('doubt', () => {
  const complete = (monotonicMs: number) => {
    const opened = openAccountNotes({ dir, bootId: BOOT, monotonicMs, capacity: 8 });
    opened.close();
    return opened.found.complete;
  };

  test('at a first start lasts, over any number of crashes, until a full bucket must have drained', () => {
    const { notes } = first();
    expect(complete(1000)).toBe(false);
    expect(complete(2000)).toBe(false);
    notes.note(noted('A'));
    expect(complete(1000 + LONGEST_DRAIN_MS - 1)).toBe(false);
    // Counted from the first start: restarts in between do not put it off.
    expect(complete(1000 + LONGEST_DRAIN_MS)).toBe(true);
    expect(complete(1000 + LONGEST_DRAIN_MS)).toBe(true);
  });

  test('leaves what has been noted since to be found', () => {
    first().notes.note(noted('A'));
    const second = open({ monotonicMs: 2000 });
    expect(second.found).toEqual({ accounts: [noted('A')], complete: false });
    second.notes.note(noted('B'));
    expect(open({ monotonicMs: 3000 }).found).toEqual({ accounts: [noted('A'), noted('B')], complete: false });
  });

  test('that damage has brought lasts as long, and starts again with new damage', () => {
    first();
    const damage = () => {
      const bytes = readFileSync(notesPath());
      bytes[SLOT + 5] = 0xee;
      writeFileSync(notesPath(), bytes);
    };
    expect(complete(LATER_MS)).toBe(true);
    damage();
    expect(complete(LATER_MS)).toBe(false);
    expect(complete(LATER_MS + 1)).toBe(false);
    damage();
    expect(complete(LATER_MS + 5000)).toBe(false);
    expect(complete(LATER_MS + 5000 + LONGEST_DRAIN_MS - 1)).toBe(false);
    expect(complete(LATER_MS + 5000 + LONGEST_DRAIN_MS)).toBe(true);
  });

  test('is there again if the daemon dies while it makes the notes again', () => {
    first().notes.note(noted('A'));
    // As a crash leaves it between the writing of the new file and its renaming.
    writeFileSync(join(dir, 'accounts.new'), readFileSync(notesPath()).subarray(0, 300));
    expect(open({ monotonicMs: 2000 }).found).toEqual({ accounts: [noted('A')], complete: false });
    expect(existsSync(join(dir, 'accounts.new'))).toBe(false);
  });
});

describe('damage', () => {
  function whole(): Buffer {
    fs.rmSync(notesPath(), { force: true });
    const { notes, close } = openAccountNotes({ dir, bootId: BOOT, monotonicMs: 1000, capacity: 8 });
    for (const account of ['A', 'B', 'C']) notes.note(noted(account));
    close();
    return readFileSync(notesPath());
  }
  function reopen(bytes: Buffer) {
    writeFileSync(notesPath(), bytes);
    const opened = openAccountNotes({ dir, bootId: BOOT, monotonicMs: LATER_MS, capacity: 8 });
    opened.close();
    return opened.found;
  }

  test('is not what the tests below begin with', () => {
    expect(reopen(whole())).toEqual({ accounts: [noted('A'), noted('B'), noted('C')], complete: true });
  });

  test('of any byte of a slot makes the notes incomplete, and the other accounts are found', () => {
    const before = whole();
    for (let at = 0; at < SLOT; at++) {
      for (const mask of [0x01, 0x80, 0xff]) {
        const damaged = Buffer.from(before);
        damaged[2 * SLOT + at] = (damaged[2 * SLOT + at] ?? 0) ^ mask;
        expect(reopen(damaged), `byte ${at}`).toEqual({ accounts: [noted('A'), noted('C')], complete: false });
      }
    }
  }, 30_000);

  test('of any byte of a free slot makes them incomplete', () => {
    const before = whole();
    for (let at = 0; at < SLOT; at++) {
      const damaged = Buffer.from(before);
      damaged[6 * SLOT + at] = 1;
      expect(reopen(damaged), `byte ${at}`).toMatchObject({ complete: false, accounts: { length: 3 } });
    }
  });

  test('of any byte of the header makes them incomplete, and as they may be another boot’s none is believed', () => {
    const before = whole();
    for (let at = 0; at < SLOT; at++) {
      const damaged = Buffer.from(before);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      expect(reopen(damaged), `byte ${at}`).toEqual({ accounts: [], complete: false });
    }
  });

  test('by a cut at any length, or by an addition, makes them incomplete, and what is whole is found', () => {
    const before = whole();
    for (let length = 0; length < before.length; length++) {
      const expected = Math.min(Math.max(Math.floor(length / SLOT) - 1, 0), 3);
      expect(reopen(before.subarray(0, length)), `length ${length}`).toMatchObject({
        complete: false,
        accounts: { length: expected },
      });
    }
    const longer = Buffer.concat([before, Buffer.alloc(1)]);
    expect(reopen(longer)).toMatchObject({ complete: false, accounts: { length: 3 } });
  }, 30_000);

  test('by a crash in the middle of a write makes them incomplete at any cut after its first byte', () => {
    const before = whole();
    const after = Buffer.from(before);
    const { notes, close } = openAccountNotes({ dir, bootId: BOOT, monotonicMs: 1000, capacity: 8 });
    notes.note(noted('B', { level: 14.5, atMs: 950, breaker: { ...CLOSED, openFor: 'locked-out', recent: 1 } }));
    close();
    readFileSync(notesPath()).copy(after);
    for (let written = 0; written <= SLOT; written++) {
      const torn = Buffer.from(before);
      after.copy(torn, 2 * SLOT, 2 * SLOT, 2 * SLOT + written);
      const isOld = torn.equals(before);
      const isNew = torn.equals(after);
      const { accounts, complete } = reopen(torn);
      expect(complete, `${written} bytes`).toBe(isOld || isNew);
      expect(accounts.find(({ account }) => account === 'B')?.level).toBe(isOld ? 7.25 : isNew ? 14.5 : undefined);
    }
  });

  test('is one account in two slots, which is found once', () => {
    const damaged = whole();
    damaged.copy(damaged, 5 * SLOT, 2 * SLOT, 3 * SLOT);
    expect(reopen(damaged)).toEqual({ accounts: [noted('A'), noted('B'), noted('C')], complete: false });
  });

  test('is a time in the future, which would make a bucket fill itself', () => {
    const { notes } = first();
    notes.note(noted('A', { atMs: 5000 }));
    notes.note(noted('B', { breaker: { ...CLOSED, openFor: 'invalid-nonce', openedAtMs: LATER_MS + 1 } }));
    notes.note(noted('C', { atMs: LATER_MS }));
    expect(open({ monotonicMs: LATER_MS }).found).toEqual({
      accounts: [noted('A', { atMs: 5000 }), noted('C', { atMs: LATER_MS })],
      complete: false,
    });
  });

  test('is a slot whose checksum holds over what no daemon writes', () => {
    const changes: [string, (slot: Buffer) => void][] = [
      ['a level that is not a number', (slot) => slot.writeDoubleLE(Number.NaN, 0)],
      ['a level below nothing', (slot) => slot.writeDoubleLE(-1, 0)],
      ['a time that is not a number', (slot) => slot.writeDoubleLE(Number.NaN, 8)],
      ['an unknown reason', (slot) => slot.writeUInt8(3, 56)],
      ['no account', (slot) => slot.writeUInt8(0, 57)],
      ['an account that is too long', (slot) => slot.fill('x', 57, 122).writeUInt8(65, 57)],
      ['an account with a zero in it', (slot) => slot.writeUInt8(2, 57)],
    ];
    for (const [what, change] of changes) {
      const damaged = whole();
      const slot = damaged.subarray(2 * SLOT, 3 * SLOT);
      change(slot);
      seal(slot);
      expect(reopen(damaged), what).toEqual({ accounts: [noted('A'), noted('C')], complete: false });
    }
  });
});

describe('a planted file', () => {
  test('in place of the notes is refused by name, and left alone', () => {
    const elsewhere = join(dir, 'elsewhere');
    writeFileSync(elsewhere, 'precious');
    symlinkSync(elsewhere, notesPath());
    const link = refusalOf(() => open());
    expect(link.exitCode).toBe(EXIT.config);
    expect(link.message).toContain(`${notesPath()} is a symbolic link`);
    expect(readFileSync(elsewhere, 'utf8')).toBe('precious');
    fs.unlinkSync(notesPath());
    mkdirSync(notesPath());
    expect(refusalOf(() => open()).exitCode).toBe(EXIT.config);
    fs.rmdirSync(notesPath());
    run('mkfifo', '-m', '600', notesPath());
    expect(refusalOf(() => open()).exitCode).toBe(EXIT.config);
    fs.unlinkSync(notesPath());
    writeFileSync(notesPath(), '');
    truncateSync(notesPath(), 1024 ** 4);
    expect(refusalOf(() => open()).exitCode).toBe(EXIT.config);
  });

  test('that others may write to, or that is another user’s, is refused', (context) => {
    open();
    for (const mode of [0o622, 0o602, 0o620]) {
      chmodSync(notesPath(), mode);
      expect(refusalOf(() => open())).toMatchObject({ exitCode: EXIT.config });
    }
    chmodSync(notesPath(), 0o600);
    skipUnlessRoot(context, 'gives a file away');
    chownSync(notesPath(), 65_534, 65_534);
    expect(refusalOf(() => open()).message).toContain('belongs to user 65534');
  });

  test('under the name of the file that is made again is replaced, not written through', () => {
    const elsewhere = join(dir, 'elsewhere');
    writeFileSync(elsewhere, 'precious');
    symlinkSync(elsewhere, join(dir, 'accounts.new'));
    expect(open().found.accounts).toEqual([]);
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
