import fc from 'fast-check';
import { Packr } from 'msgpackr/pack';
import { describe, expect, test } from 'vitest';
import { MessageScanner } from '../../src/protocol/message-scanner.ts';
import { MAX_MESSAGE_BYTES } from '../../src/protocol/messages.ts';
import { msgpackRpc } from '../../src/protocol/msgpack-rpc.ts';
import { checkRequest } from '../../src/protocol/request-check.ts';
import { bytes } from './every-message.ts';

const plain = new Packr({ useRecords: false, variableMapSize: true });

function hexOf(message: Uint8Array): string {
  return Buffer.from(message).toString('hex');
}

function decoded(...message: unknown[]) {
  return msgpackRpc.decode(plain.pack(message));
}

describe('on the wire', () => {
  test('messages are those of the MessagePack-RPC specification', () => {
    expect(msgpackRpc.request(1, 'renew', { token: 5n })).toEqual(
      Buffer.from(bytes('94 00 01 a5 72656e6577 91 81 a5 746f6b656e d3 0000000000000005')),
    );
    expect(msgpackRpc.notification('x', {})).toEqual(Buffer.from(bytes('93 02 a1 78 91 80')));
    expect(msgpackRpc.answer(2 ** 32 - 1, { ok: true })).toEqual(
      Buffer.from(bytes('94 01 ceffffffff c0 81 a26f6b c3')),
    );
  });

  test('a refusal is a map with its code, whose sent is false, and a nil result', () => {
    const refused = msgpackRpc.refusal(3, { code: 'LIMIT', message: 'full', retryAfterMs: 9 });
    expect(plain.unpack(refused)).toEqual([
      1,
      3,
      { code: 'LIMIT', message: 'full', sent: false, retryAfterMs: 9 },
      null,
    ]);
    const bare = msgpackRpc.refusal(undefined, { code: 'LIMIT', message: 'full' });
    expect(plain.unpack(bare)).toEqual([1, 0, { code: 'LIMIT', message: 'full', sent: false }, null]);
  });

  test('a bigint is a 64-bit integer, signed if it fits', () => {
    expect(hexOf(msgpackRpc.answer(1, { n: 2n ** 63n - 1n }))).toContain('a16ed37fffffffffffffff');
    expect(hexOf(msgpackRpc.answer(1, { n: 2n ** 63n }))).toContain('a16ecf8000000000000000');
    expect(hexOf(msgpackRpc.answer(1, { n: 2n ** 64n - 1n }))).toContain('a16ecfffffffffffffffff');
    expect(hexOf(msgpackRpc.answer(1, { n: 0n }))).toContain('a16ed30000000000000000');
    expect(() => msgpackRpc.answer(1, { n: 2n ** 64n })).toThrow(RangeError);
    // The packer is shared: a failure in it must leave no trace.
    expect(hexOf(msgpackRpc.answer(1, {}))).toBe('940101c080');
  });

  test('a field that is undefined is left out, because it would be an extension type', () => {
    expect(hexOf(msgpackRpc.request(1, 'x', { a: undefined, b: null }))).toBe('940001a1789181a162c0');
  });

  test('a frame that was made before is not overwritten by the next ones', () => {
    const first = msgpackRpc.answer(1, { text: 'first' });
    const before = hexOf(first);
    for (let i = 0; i < 5000; i += 1) msgpackRpc.answer(i, { text: 'another' });
    expect(hexOf(first)).toBe(before);
  });

  test('nonces, numbers and text come back exactly as they went, past the scanner too', () => {
    const scalar = fc.oneof(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      fc.integer(),
      fc.maxSafeInteger(),
      fc.double({ noNaN: true }).filter((value) => !Object.is(value, -0)),
      fc.string({ unit: 'grapheme' }),
      fc.boolean(),
      fc.constant(null),
    );
    const key = fc.string({ unit: 'grapheme' }).filter((name) => name !== '__proto__');
    const result = fc.dictionary(
      key,
      fc.oneof(scalar, fc.array(scalar), fc.dictionary(key, scalar, { noNullPrototype: true })),
      {
        noNullPrototype: true,
      },
    );
    fc.assert(
      fc.property(fc.nat(2 ** 32 - 1), result, (id, result) => {
        const scanner = new MessageScanner({ maxBytes: 1 << 20 });
        const sent = msgpackRpc.answer(id, result);
        scanner.push(sent);
        const frame = scanner.next();
        expect(frame).toHaveLength(sent.length);
        expect(msgpackRpc.decode(frame ?? sent)).toStrictEqual({ kind: 'answer', id, result });
      }),
    );
  });
});

describe('decoding', () => {
  test('params are [] or [map]', () => {
    expect(decoded(0, 1, 'status', [])).toEqual({ kind: 'request', id: 1, method: 'status', params: undefined });
    expect(decoded(0, 1, 'status', [{}])).toEqual({ kind: 'request', id: 1, method: 'status', params: {} });
    expect(decoded(2, 'status', [])).toEqual({ kind: 'notification', method: 'status', params: undefined });
  });

  test('params by position get as far as the check, which refuses them', () => {
    const message = decoded(0, 1, 'renew', [5, 1000]);
    expect(message).toMatchObject({ kind: 'request', id: 1 });
    expect(checkRequest('renew', [5, 1000])).toMatchObject({ code: 'BAD_REQUEST' });
  });

  test.each([
    ['an id that is negative', [0, -1, 'status', []], undefined],
    ['an id over 32 bits', [0, 2 ** 32, 'status', []], undefined],
    ['an id in 64 bits', [0, 1n, 'status', []], undefined],
    ['an id with a fraction', [0, 1.5, 'status', []], undefined],
    ['an id that is text', [0, 'a', 'status', []], undefined],
    ['an id that is nil', [0, null, 'status', []], undefined],
    ['a request of three', [0, 7, 'status'], 7],
    ['a method that is not text', [0, 7, 5, []], 7],
    ['params that are not a list', [0, 7, 'status', {}], 7],
    ['params that are nil', [0, 7, 'status', null], 7],
    ['a notification of four', [2, 'status', [], 1], undefined],
    ['a notification whose method is not text', [2, 5, []], undefined],
    ['a notification whose params are not a list', [2, 'status', {}], undefined],
    ['an answer without an id', [1, null, null, {}], undefined],
    ['an answer of three', [1, 7, null], 7],
    ['an unknown type', [3, 7, 'status', []], undefined],
    ['a type that is text', ['0', 7, 'status', []], undefined],
  ])('%s is malformed', (_what, message, id) => {
    const read = decoded(...message);
    expect(read).toMatchObject({ kind: 'malformed', refusal: { code: 'BAD_REQUEST' } });
    expect(read).toHaveProperty('id', id);
  });

  test('frames that are not a message are malformed too, without a throw', () => {
    for (const hex of ['', '00', 'c1', '80', 'a161', '94 00 01 a1 78 91 81 90 c0', '94 00']) {
      expect(msgpackRpc.decode(bytes(hex)), hex).toMatchObject({ kind: 'malformed', id: undefined });
    }
    fc.assert(fc.property(fc.uint8Array(), (frame) => void msgpackRpc.decode(frame)));
  });

  test('keys that name the prototype pollute nothing and are refused as unknown fields', () => {
    // {"__proto__": {"cost": 5}, "account": "A"}, and with the key as str 8
    for (const key of ['a9', 'd9 09']) {
      const frame = bytes(
        `94 00 01 a7 61637175697265 91 82 ${key} 5f5f70726f746f5f5f 81 a4 636f7374 05 a7 6163636f756e74 a1 41`,
      );
      const message = msgpackRpc.decode(frame);
      if (message.kind !== 'request') throw new Error(`expected a request, got ${message.kind}`);
      expect(Object.getPrototypeOf(message.params)).toBe(Object.prototype);
      expect(checkRequest(message.method, message.params)).toMatchObject({
        code: 'BAD_REQUEST',
        message: expect.stringContaining('__proto_'),
      });
    }
    expect({}).not.toHaveProperty('cost');
  });

  test('of a key that comes twice the last value counts', () => {
    const frame = bytes('94 00 01 a5 6e6f6e6365 91 82 a5 636f756e74 01 a5 636f756e74 02');
    expect(msgpackRpc.decode(frame)).toMatchObject({ params: { count: 2 } });
  });

  test('invalid UTF-8 in a text refuses the request, and the connection lives on', () => {
    for (const invalid of ['ff', 'c3', 'eda080', 'c0af', 'f8888080', 'e28f']) {
      const length = (0xa0 + invalid.length / 2).toString(16);
      const stream = bytes(`94 00 01 a5 68656c6c6f 91 81 a4 6e616d65 ${length} ${invalid}`);
      const scanner = new MessageScanner({ maxBytes: MAX_MESSAGE_BYTES });
      scanner.push(stream);
      const message = msgpackRpc.decode(scanner.next() ?? new Uint8Array());
      if (message.kind !== 'request') throw new Error(`expected a request, got ${message.kind}`);
      expect(checkRequest(message.method, message.params), invalid).toMatchObject({ code: 'BAD_REQUEST' });
    }
  });
});

describe('errors of another daemon', () => {
  test('a code that is not known keeps its name in the message, and is not one to retry', () => {
    expect(decoded(1, 1, { code: 'FROZEN', message: 'too cold', sent: false, retryAfterMs: 5 }, null)).toEqual({
      kind: 'error',
      id: 1,
      error: { code: 'BAD_REQUEST', message: 'FROZEN: too cold', sent: false },
    });
  });

  test.each([
    ['text', 'no such method', 'no such method'],
    ['a number', 5, 'the daemon gave no reason'],
    ['a map without a message', {}, 'the daemon gave no reason'],
    ['a list', [1], 'the daemon gave no reason'],
  ])('an error that is %s is an error all the same', (_what, error, message) => {
    expect(decoded(1, 1, error, null)).toMatchObject({ kind: 'error', error: { code: 'BAD_REQUEST', message } });
  });

  test('a retryAfterMs that is not a duration is dropped', () => {
    for (const retryAfterMs of [-1, Number.NaN, 'soon', null, Number.POSITIVE_INFINITY]) {
      expect(decoded(1, 1, { code: 'PACED', message: 'm', retryAfterMs }, null)).toEqual({
        kind: 'error',
        id: 1,
        error: { code: 'PACED', message: 'm', sent: false },
      });
    }
  });
});
