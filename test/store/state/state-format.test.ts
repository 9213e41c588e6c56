import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DurableAccount, DurableSequence } from '../../../src/core/ports.ts';
import {
  parseState,
  type StateFileContents,
  salvageFields,
  serialiseState,
} from '../../../src/store/state/state-format.ts';
import { IDENTITY, NS, stateWith } from '../scratch.ts';

const TOKENS: DurableSequence = { unit: 'us', ceiling: 1_790_000_000_000_000n, max: 2n ** 53n - 1n };
const contents = (over: Partial<StateFileContents> = {}): StateFileContents => ({
  ...IDENTITY,
  state: stateWith({ default: NS, '#tokens': TOKENS }),
  extra: {},
  sequenceExtra: {},
  ...over,
});
const BYTES = serialiseState(contents());

/** `text` with another checksum that holds, as a newer version would write it. */
function resealed(change: (parsed: Record<string, unknown>) => void): Buffer {
  const parsed = JSON.parse(BYTES.toString()) as Record<string, unknown>;
  change(parsed);
  // Keys that are not ours are kept and sealed by the writer itself.
  const { format, instance, epoch, pid, socket, bootAnchor, seenWallMs, exclusive, sequences, checksum, ...extra } =
    parsed;
  const sealed = serialiseState({
    ...contents(),
    extra: { format, instance, epoch, pid, socket, bootAnchor, seenWallMs, exclusive, sequences, ...extra } as never,
  });
  return sealed;
}

/** The text with a checksum that holds, as any version may have written it. */
function resealedText(text: string): Buffer {
  const { checksum: _, ...body } = JSON.parse(text);
  const lines = (value: object) => `${JSON.stringify(value, null, 2)}\n`;
  return Buffer.from(lines({ ...body, checksum: createHash('sha256').update(lines(body)).digest('hex') }));
}

describe('a state', () => {
  test('is JSON that people can read, with the checksum last', () => {
    const text = BYTES.toString();
    expect(text).toContain('\n  "epoch": 7,\n');
    expect(text).toContain(
      '    "default": {\n      "unit": "ns",\n      "ceiling": "1790000000000000000",\n      "max": "9223372036854775807"\n    }',
    );
    expect(text).toMatch(/,\n {2}"checksum": "[0-9a-f]{64}"\n}\n$/);
  });

  test('is read back as it was written', () => {
    expect(parseState(BYTES)).toEqual({ kind: 'state', state: contents() });
  });

  test('is read back as it was written, with any content', () => {
    const sequence = fc.record({
      unit: fc.constantFrom('ns', 'us', 'ms', 's', 'counter'),
      ceiling: fc.bigInt(0n, 2n ** 64n),
      max: fc.bigInt(0n, 2n ** 64n),
    });
    const name = fc.stringMatching(/^[A-Za-z0-9._:@#-]{1,64}$/).filter((text) => text !== '__proto__');
    const account = fc.stringMatching(/^(?:[A-Za-z0-9._:@-]{1,64}|\*)$/).filter((text) => text !== '__proto__');
    const accounts = fc.array(fc.tuple(account, fc.boolean(), fc.boolean()), { maxLength: 20 });
    const state = fc.record({
      sequences: fc.dictionary(name, sequence, { noNullPrototype: true, maxKeys: 64 }),
      accounts: fc.constant(new Map()),
      exclusive: fc.constantFrom('global', 'account', 'off'),
      anchor: fc.option(
        fc.record({
          bootId: fc.uuid(),
          wallMs: fc.nat(),
          uptimeMs: fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }).map(Math.abs),
        }),
        { nil: undefined },
      ),
      seenWallMs: fc.maxSafeNat(),
    });
    fc.assert(
      fc.property(
        state,
        accounts,
        fc.string(),
        fc.jsonValue({ noUnicodeString: false }),
        (drawn, kept, socket, extra) => {
          const [sequenceName] = Object.keys(drawn.sequences);
          const durableAccounts = kept.map(([who, hasDrawn, paused]) => {
            const from = hasDrawn ? sequenceName : undefined;
            return [who, { sequence: from, paused: paused || from === undefined }] as const;
          });
          const durable = { ...drawn, accounts: new Map(durableAccounts) };
          // As JSON knows it: -0 is 0, and no text holds half a character.
          const expected = contents({
            socket: socket,
            state: durable as StateFileContents['state'],
            extra: { later: JSON.parse(JSON.stringify(extra)) },
          });
          expect(parseState(serialiseState(expected))).toEqual({ kind: 'state', state: expected });
        },
      ),
    );
  });

  describe('tells which accounts an operator has placed', () => {
    const accounts = new Map<string, DurableAccount>([
      ['KEPT', { sequence: 'default', paused: false, placed: 'kept' }],
      ['A', { sequence: 'default', paused: true }],
      ['NEVER', { sequence: undefined, paused: true }],
    ]);
    const withAccounts = (over: Partial<StateFileContents> = {}, of: typeof accounts = accounts) =>
      serialiseState(contents({ ...over, state: { ...contents().state, accounts: of } }));
    const placedIn = (bytes: Buffer) => {
      const parsed = parseState(bytes);
      if (parsed.kind !== 'state') throw new Error(JSON.stringify(parsed));
      return [...parsed.state.state.accounts.values()].map(({ placed }) => placed);
    };

    test('and reads it back', () => {
      expect(placedIn(withAccounts())).toEqual(['kept', undefined, undefined]);
    });

    test('and that it is not known of the others once an earlier version has written it, which keeps the key', () => {
      const parsed = parseState(withAccounts());
      if (parsed.kind !== 'state') throw new Error(parsed.kind);
      const { placed } = JSON.parse(withAccounts().toString());
      const since = serialiseState({ ...contents(), epoch: parsed.state.epoch + 1, extra: { placed } });
      const text = since
        .toString()
        .replace('"sequences"', '"accounts": {"A": "default", "KEPT": "default"}, "sequences"');
      expect(placedIn(resealedText(text))).toEqual(['unknown', 'kept']);
    });

    test('and that it is not known of a state of an earlier version', () => {
      const { placed: _, ...others } = JSON.parse(withAccounts().toString());
      expect(placedIn(resealedText(JSON.stringify(others)))).toEqual(['unknown', 'unknown', undefined]);
    });

    test('and does not forget that it is not known', () => {
      const unknown = new Map(accounts).set('A', { sequence: 'default', paused: false, placed: 'unknown' });
      expect(placedIn(withAccounts({}, unknown))).toEqual(['kept', 'unknown', undefined]);
    });

    test('and is damaged if the key is none of ours', () => {
      for (const placed of [7, { epoch: -1, accounts: [] }, { epoch: 1, accounts: ['no such name'] }, { epoch: 1 }]) {
        const text = JSON.stringify({ ...JSON.parse(withAccounts().toString()), placed });
        expect(parseState(resealedText(text))).toMatchObject({ kind: 'damaged', problem: 'has no valid placed' });
      }
    });

    test('also to a repair', () => {
      const cut = withAccounts();
      const salvaged = salvageFields(cut.subarray(0, cut.length - 20));
      expect([...salvaged.accounts.values()].map(({ placed }) => placed)).toEqual(['kept', undefined, undefined]);
    });
  });

  test('I9: damage in any single bit or byte is found, white space included', () => {
    for (let at = 0; at < BYTES.length; at++) {
      const original = BYTES[at] ?? 0;
      const others = [1, 2, 4, 8, 16, 32, 64, 128].map((bit) => original ^ bit);
      for (const byte of [...others, 0x00, 0xff, 0x20, 0x09, 0x30, 0x39]) {
        if (byte === original) continue;
        const damaged = Buffer.from(BYTES);
        damaged[at] = byte;
        expect(parseState(damaged).kind, `byte ${at} as ${byte}`).not.toBe('state');
      }
    }
  });

  test('I9: a byte too many, too few, twice or swapped is found anywhere', () => {
    for (let at = 0; at < BYTES.length; at++) {
      const before = BYTES.subarray(0, at);
      const here = BYTES.subarray(at, at + 1);
      const next = BYTES.subarray(at + 1, at + 2);
      const variants = [
        Buffer.concat([before, BYTES.subarray(at + 1)]),
        Buffer.concat([before, here, here, BYTES.subarray(at + 1)]),
        Buffer.concat([before, Buffer.from(' '), BYTES.subarray(at)]),
        Buffer.concat([before, Buffer.from('\n'), BYTES.subarray(at)]),
      ];
      if (!here.equals(next)) variants.push(Buffer.concat([before, next, here, BYTES.subarray(at + 2)]));
      for (const variant of variants) {
        if (variant.equals(BYTES)) continue;
        const parsed = parseState(variant);
        expect(parsed.kind === 'damaged' || (parsed.kind === 'newer' && !parsed.intact), `at ${at}`).toBe(true);
      }
    }
  });

  test('I9: cut short at any length it is damaged, and without a byte it is empty', () => {
    for (let length = 0; length < BYTES.length; length++) {
      expect(parseState(BYTES.subarray(0, length)).kind, `length ${length}`).toBe('damaged');
    }
    expect(parseState(Buffer.alloc(0))).toEqual({ kind: 'damaged', problem: 'is empty' });
    expect(parseState(Buffer.alloc(4096)).kind).toBe('damaged');
  });

  test('I9: bytes that are not a state never throw', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => parseState(Buffer.from(bytes)).kind === 'damaged'));
    fc.assert(fc.property(fc.json(), (json) => parseState(Buffer.from(json)).kind === 'damaged'));
    expect(parseState(Buffer.from(`${'['.repeat(200_000)}`)).kind).toBe('damaged');
    expect(parseState(Buffer.from(`${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`)).kind).toBe('damaged');
  });

  test('keeps the keys of a newer minor version, at the top and in a sequence, under its checksum', () => {
    const newer = contents({
      extra: { holidays: ['USER:alice'], owner: { id: 'abc' } },
      sequenceExtra: { default: { exchange: 'kraken' } },
    });
    const bytes = serialiseState(newer);
    expect(parseState(bytes)).toEqual({ kind: 'state', state: newer });
    const damaged = Buffer.from(bytes.toString().replace('USER:alice', 'USER:alicf'));
    expect(parseState(damaged).kind).toBe('damaged');
  });

  test('of a newer format is distinguished from one whose format digit is damaged', () => {
    const newer = resealed((parsed) => {
      Object.assign(parsed, { format: 2 });
    });
    expect(parseState(newer)).toEqual({ kind: 'newer', format: 2, intact: true });
    const damaged = Buffer.from(BYTES.toString().replace('"format": 1', '"format": 3'));
    expect(parseState(damaged)).toEqual({ kind: 'newer', format: 3, intact: false });
  });

  test.each<[string, string, unknown]>([
    ['an older format', 'format', 0],
    ['no format', 'format', '1'],
    ['a short instance', 'instance', 'abc'],
    ['an instance in capitals', 'instance', 'AA112233445566778899AABBCCDDEEFF'],
    ['epoch 0', 'epoch', 0],
    ['an epoch past what a number holds', 'epoch', 2 ** 53],
    ['an epoch with a fraction', 'epoch', 1.5],
    ['a negative pid', 'pid', -1],
    ['a socket that is not text', 'socket', null],
    ['an unknown policy', 'exclusive', 'none'],
    ['an anchor without a boot', 'bootAnchor', { wallMs: 1, uptimeMs: 1 }],
    ['an anchor from before the epoch', 'bootAnchor', { bootId: 'a', wallMs: -1, uptimeMs: 1 }],
    ['a wall time that is not a number', 'seenWallMs', '1'],
    ['sequences in a list', 'sequences', []],
    ['a unit that does not exist', 'sequences', { default: { unit: 'min', ceiling: '1', max: '2' } }],
    ['a ceiling as a number', 'sequences', { default: { unit: 'ns', ceiling: 1, max: '2' } }],
    ['a ceiling below zero', 'sequences', { default: { unit: 'ns', ceiling: '-1', max: '2' } }],
    ['a ceiling with a leading zero', 'sequences', { default: { unit: 'ns', ceiling: '01', max: '2' } }],
    ['a ceiling over 2^64', 'sequences', { default: { unit: 'ns', ceiling: String(2n ** 64n + 1n), max: '2' } }],
    ['a sequence without a max', 'sequences', { default: { unit: 'ns', ceiling: '1' } }],
    ['a sequence without a name', 'sequences', { '': { unit: 'ns', ceiling: '1', max: '2' } }],
    [
      'over 64 sequences',
      'sequences',
      Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`s${n}`, { unit: 'ns', ceiling: '1', max: '2' }])),
    ],
  ])('I9: with %s is refused although its checksum holds, and the field is named', (_, key, value) => {
    const parsed = parseState(
      resealed((state) => {
        state[key] = value;
      }),
    );
    expect(parsed).toMatchObject({ kind: 'damaged', problem: expect.stringMatching(new RegExp(key.slice(0, 7))) });
  });
});

describe('what is salvaged', () => {
  test('of a whole state is all of it', () => {
    const { state, ...identity } = contents();
    expect(salvageFields(BYTES)).toEqual({ ...identity, ...state });
  });

  test('of a state cut short are the sequences that are whole, never a part of a number', () => {
    for (let length = 0; length <= BYTES.length; length++) {
      const { sequences, epoch, instance } = salvageFields(BYTES.subarray(0, length));
      expect([undefined, 7]).toContain(epoch);
      expect([undefined, IDENTITY.instance]).toContain(instance);
      for (const [name, { ceiling, unit }] of Object.entries(sequences)) {
        expect({ ceiling, unit }).toEqual(
          name === 'default' ? { ceiling: NS.ceiling, unit: 'ns' } : { ceiling: TOKENS.ceiling, unit: 'us' },
        );
      }
    }
    const text = BYTES.toString();
    const upToTokens = BYTES.subarray(0, text.indexOf('"#tokens"'));
    expect(salvageFields(upToTokens).sequences).toEqual({ default: NS });
    expect(salvageFields(upToTokens)).toMatchObject({ epoch: 7, pid: 4711, exclusive: 'global' });
  });

  test('leaves out what is implausible by itself and keeps the rest', () => {
    const text = BYTES.toString().replace('"epoch": 7', '"epoch": -7').replace('"us"', '"ux"');
    const salvaged = salvageFields(Buffer.from(text));
    expect(salvaged.epoch).toBeUndefined();
    expect(salvaged.sequences).toEqual({ default: NS });
    expect(salvaged.instance).toBe(IDENTITY.instance);
  });

  test('of any bytes at all never throws', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => typeof salvageFields(Buffer.from(bytes)) === 'object'));
    expect(salvageFields(Buffer.alloc(0)).sequences).toEqual({});
  });
});
