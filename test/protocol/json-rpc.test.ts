import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../src/errors.ts';
import { jsonRpc } from '../../src/protocol/json-rpc.ts';
import { checkRequest, isRefusal } from '../../src/protocol/request-check.ts';
import { bytes } from './every-message.ts';

function textOf(message: Uint8Array): string {
  return new TextDecoder().decode(message);
}

function decoded(line: string | object) {
  return jsonRpc.decode(Buffer.from(typeof line === 'string' ? line : JSON.stringify(line)));
}

/** What the answer to a line that is refused says, as a session would put it together. */
function errorTo(line: string | object) {
  const message = decoded(line);
  if (message.kind === 'malformed') return JSON.parse(textOf(jsonRpc.refusal(message.id, message.refusal)));
  if (message.kind !== 'request') throw new Error(`not refused: ${message.kind}`);
  const checked = checkRequest(message.method, message.params);
  if (!isRefusal(checked)) throw new Error(`not refused: ${checked.method}`);
  return JSON.parse(textOf(jsonRpc.refusal(message.id, checked)));
}

describe('on the wire', () => {
  test('every message is one line, and a bigint a decimal string', () => {
    expect(textOf(jsonRpc.request('a', 'renew', { token: 5n, ttlMs: undefined }))).toBe(
      '{"jsonrpc":"2.0","id":"a","method":"renew","params":{"token":"5"}}\n',
    );
    expect(textOf(jsonRpc.notification('revoked', { token: 5n }))).toBe(
      '{"jsonrpc":"2.0","method":"revoked","params":{"token":"5"}}\n',
    );
    expect(textOf(jsonRpc.answer(1, { nonce: 2n ** 64n - 1n, text: 'a\nb', leadMs: 0.5 }))).toBe(
      '{"jsonrpc":"2.0","id":1,"result":{"nonce":"18446744073709551615","text":"a\\nb","leadMs":0.5}}\n',
    );
  });

  test('a refusal is an error with our code under data', () => {
    expect(textOf(jsonRpc.refusal(3, refusal('PACED', 'full', 9)))).toBe(
      '{"jsonrpc":"2.0","id":3,"error":{"code":-32000,"message":"full","data":{"code":"PACED","message":"full","sent":false,"retryAfterMs":9}}}\n',
    );
    expect(textOf(jsonRpc.refusal(undefined, refusal('TOO_LARGE', 'over')))).toBe(
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"over","data":{"code":"TOO_LARGE","message":"over","sent":false}}}\n',
    );
  });
});

describe('standard error numbers', () => {
  test.each([
    ['{"jsonrpc"', -32700, null],
    ['status', -32700, null],
    ['{"jsonrpc":"2.0","id":1,"method":"nonce","params":{"count":NaN}}', -32700, null],
    ['[{"jsonrpc":"2.0","id":1,"method":"status"}]', -32600, null],
    ['"status"', -32600, null],
    ['null', -32600, null],
    ['{}', -32600, null],
    ['{"jsonrpc":"2.0","id":1}', -32600, 1],
    ['{"id":1,"method":"status"}', -32600, 1],
    ['{"jsonrpc":2,"id":1,"method":"status"}', -32600, 1],
    ['{"jsonrpc":"2.0","id":1,"method":5}', -32600, 1],
    ['{"jsonrpc":"2.0","id":1,"method":"status","params":null}', -32600, 1],
    ['{"jsonrpc":"2.0","id":1,"method":"status","params":5}', -32600, 1],
    ['{"jsonrpc":"2.0","id":"x","method":"status","auth":5}', -32600, 'x'],
    ['{"jsonrpc":"2.0","id":"x","method":"status","__proto__":{"a":5}}', -32600, 'x'],
    ['{"jsonrpc":"2.0","id":1,"method":"status","result":1}', -32600, 1],
    ['{"jsonrpc":"2.0","id":null,"method":"status"}', -32600, null],
    ['{"jsonrpc":"2.0","id":1.5,"method":"status"}', -32600, null],
    ['{"jsonrpc":"2.0","id":9007199254740993,"method":"status"}', -32600, null],
    ['{"jsonrpc":"2.0","id":{},"method":"status"}', -32600, null],
    ['{"jsonrpc":"2.0","id":true,"method":"status"}', -32600, null],
    ['{"jsonrpc":"2.0","id":1,"method":"toString"}', -32601, 1],
    ['{"jsonrpc":"2.0","id":1,"method":"status","params":{"a":1}}', -32602, 1],
    ['{"jsonrpc":"2.0","id":1,"method":"status","params":[1,2]}', -32602, 1],
    ['{"jsonrpc":"2.0","id":1,"method":"nonce","params":{"count":1e400}}', -32602, 1],
  ])('%s is answered %i', (line, code, id) => {
    expect(errorTo(line)).toMatchObject({ jsonrpc: '2.0', id, error: { code, data: { sent: false } } });
  });

  test('a batch is refused with the reason', () => {
    expect(errorTo('[]').error.message).toContain('not a batch');
  });

  test('an unknown key of the envelope is named', () => {
    expect(errorTo('{"jsonrpc":"2.0","id":1,"method":"status","auth":5}').error.message).toContain("'auth'");
  });
});

describe('decoding', () => {
  test('params may be left out, or be an object, [] or [object]', () => {
    const call = { jsonrpc: '2.0', id: 1, method: 'nonce' };
    const params = { account: 'A' };
    expect(decoded(call)).toEqual({ kind: 'request', id: 1, method: 'nonce', params: undefined });
    expect(decoded({ ...call, params })).toEqual({ kind: 'request', id: 1, method: 'nonce', params });
    expect(decoded({ ...call, params: [] })).toEqual({ kind: 'request', id: 1, method: 'nonce', params: undefined });
    expect(decoded({ ...call, params: [params] })).toEqual({ kind: 'request', id: 1, method: 'nonce', params });
  });

  test('a call without an id is a notification', () => {
    expect(decoded('{"jsonrpc":"2.0","method":"release","params":{"token":"5"}}')).toEqual({
      kind: 'notification',
      method: 'release',
      params: { token: '5' },
    });
  });

  test('an id is a safe integer or up to 64 bytes of text, and comes back as it was', () => {
    for (const id of [0, -5, Number.MAX_SAFE_INTEGER, '', 'é'.repeat(32), 'x'.repeat(64)]) {
      expect(decoded({ jsonrpc: '2.0', id, method: 'status' })).toMatchObject({ kind: 'request', id });
      expect(decoded(textOf(jsonRpc.answer(id, {})))).toEqual({ kind: 'answer', id, result: {} });
    }
    for (const id of [`${'é'.repeat(32)}x`, 'x'.repeat(65)]) {
      expect(decoded({ jsonrpc: '2.0', id, method: 'status' })).toMatchObject({ kind: 'malformed', id: undefined });
    }
  });

  test('answers and errors are read, and an error without an id has the id 0', () => {
    expect(decoded('{"jsonrpc":"2.0","id":1,"result":null}')).toEqual({ kind: 'answer', id: 1, result: null });
    const error = { code: -32000, message: 'full', data: { code: 'LIMIT', message: 'full', sent: false } };
    expect(decoded({ jsonrpc: '2.0', id: null, error })).toEqual({ kind: 'error', id: 0, error: error.data });
    expect(decoded({ jsonrpc: '2.0', id: 1, error, result: {} })).toMatchObject({ kind: 'malformed', id: 1 });
    expect(decoded({ jsonrpc: '2.0', result: {} })).toMatchObject({ kind: 'malformed', id: undefined });
    expect(decoded({ jsonrpc: '2.0', id: null, result: {} })).toMatchObject({ kind: 'malformed', id: undefined });
  });

  test('an error without our data keeps its message', () => {
    expect(decoded({ jsonrpc: '2.0', id: 1, error: { code: -32601, message: 'what?' } })).toMatchObject({
      error: { code: 'UNKNOWN_METHOD', message: 'what?' },
    });
    for (const error of [{ code: 5, message: 'what?', data: 'x' }, { message: 'what?' }]) {
      expect(decoded({ jsonrpc: '2.0', id: 1, error })).toMatchObject({
        error: { code: 'BAD_REQUEST', message: 'what?' },
      });
    }
    for (const error of [5, null, 'x']) {
      expect(decoded({ jsonrpc: '2.0', id: 1, error })).toMatchObject({
        kind: 'error',
        error: { code: 'BAD_REQUEST' },
      });
    }
  });

  test('invalid UTF-8 and a byte order mark are malformed', () => {
    const good = '{"jsonrpc":"2.0","id":1,"method":"status"}';
    expect(jsonRpc.decode(Buffer.concat([bytes('ef bb bf'), Buffer.from(good)]))).toMatchObject({ kind: 'malformed' });
    for (const invalid of ['ff', 'c0 af', 'ed a0 80', 'e2 28 a1']) {
      const line = Buffer.concat([Buffer.from(good.slice(0, -2)), bytes(invalid), Buffer.from('"}')]);
      expect(jsonRpc.decode(line)).toMatchObject({ kind: 'malformed' });
    }
  });

  test('a prototype in the params pollutes nothing and is refused as an unknown field', () => {
    const line = '{"jsonrpc":"2.0","id":1,"method":"acquire","params":{"__proto__":{"cost":5}}}';
    expect(errorTo(line)).toMatchObject({
      error: { code: -32602, message: expect.stringContaining("unknown field '__proto__'") },
    });
    expect({}).not.toHaveProperty('cost');
  });

  test('of a key that comes twice the last value counts', () => {
    expect(decoded('{"jsonrpc":"2.0","id":1,"id":2,"method":"status"}')).toMatchObject({ kind: 'request', id: 2 });
  });

  test('deep nesting ends neither the process nor the decoder', () => {
    const deep = `{"jsonrpc":"2.0","id":1,"method":"status","params":${'['.repeat(2000)}${']'.repeat(2000)}}`;
    expect(errorTo(deep)).toMatchObject({ error: { code: -32602 } });
  });

  test('no frame makes it throw', () => {
    fc.assert(fc.property(fc.uint8Array(), (frame) => void jsonRpc.decode(frame)));
    fc.assert(fc.property(fc.json(), (line) => void decoded(line)));
    const value = fc.jsonValue();
    const envelope = fc.record(
      { jsonrpc: fc.constantFrom('2.0', 2), id: value, method: value, params: value, result: value, error: value },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(envelope, (message) => {
        const read = decoded(message);
        if (read.kind === 'malformed')
          expect(textOf(jsonRpc.refusal(read.id, read.refusal)).endsWith('}\n')).toBe(true);
      }),
    );
  });
});
