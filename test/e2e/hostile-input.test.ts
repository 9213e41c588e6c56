import { describe, expect } from 'vitest';
import { daemonPerFile } from '../fixtures/daemon-test.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type Encoding, RawConnection, Refused } from '../fixtures/raw-connection.ts';

const ENCODINGS: readonly Encoding[] = ['json', 'msgpack'];
const MAX_MESSAGE_BYTES = 4096;
const WAITING_PER_CONNECTION = 1_000;
const WAITING = 10_000;
const ACCOUNTS = 1_000;
const CONNECTIONS = 1_024;
const MEBIBYTE = 1024 * 1024;
/** How far the daemon's memory may lie above its first after hostile input: what the runtime has claimed and not given back. */
const MEMORY_SLACK = 128 * MEBIBYTE;

let lastNonce = 0n;

const test = daemonPerFile()
  // The next client is served as if nothing had happened: I2 and I8 hold, and nothing of those before it is left.
  .extend('serveNext', ({ place, status }) => async () => {
    await eventually('the traces of the clients before are gone', async () => {
      const { connections, leases, waiting } = (await status()).totals;
      return connections === 1 && leases === 0 && waiting === 0;
    });
    for (const encoding of ENCODINGS) {
      const connection = await RawConnection.open(place.socket, encoding);
      for (const method of ['nonce', 'acquire']) {
        const { nonce, token } = await connection.ask(method);
        expect(BigInt(nonce as string)).toBeGreaterThan(lastNonce);
        lastNonce = BigInt(nonce as string);
        if (token !== undefined) expect(await connection.ask('release', { token })).toEqual({ released: true });
      }
      connection.destroy();
    }
  })
  // Another client is served while the one under test is still there.
  .extend('serveBeside', ({ place }) => async (encoding: Encoding, method: 'nonce' | 'acquire' = 'acquire') => {
    const beside = await RawConnection.open(place.socket, encoding);
    const { nonce } = await beside.ask(method);
    expect(BigInt(nonce as string)).toBeGreaterThan(lastNonce);
    beside.destroy();
  });

let firstMemory = 0;

test.beforeEach(async ({ daemon, serveNext }) => {
  if (firstMemory > 0) return;
  await serveNext();
  firstMemory = daemon.residentBytes();
});

test.afterEach(async ({ daemon, raw, serveNext }) => {
  for (const connection of raw.opened) connection.destroy();
  await serveNext();
  expect(daemon.residentBytes()).toBeLessThan(firstMemory + MEMORY_SLACK);
});

test.afterAll(async ({ daemon }) => {
  expect(await daemon.end('SIGTERM')).toBe(0);
});

describe.each(ENCODINGS)('in %s', (encoding) => {
  const wrongParams: readonly (readonly [what: string, method: string, params: unknown])[] = [
    ['an account that is a number', 'nonce', { account: 5 }],
    ['an account that is a list', 'nonce', { account: ['MASTER'] }],
    ['an empty account', 'nonce', { account: '' }],
    ['an account of 65 characters', 'nonce', { account: 'a'.repeat(65) }],
    ['an account with a line break', 'nonce', { account: 'MASTER\n' }],
    ['a path as an account', 'nonce', { account: '../../etc/passwd' }],
    ['a count of 0', 'nonce', { count: 0 }],
    ['a negative count', 'nonce', { count: -1 }],
    ['a count over 1,000', 'nonce', { count: 1001 }],
    ['half a count', 'nonce', { count: 1.5 }],
    ['a count as text', 'nonce', { count: '1' }],
    ['a count of 1e308', 'nonce', { count: 1e308 }],
    ['a count of true', 'nonce', { count: true }],
    ['an unknown field', 'nonce', { acount: 'MASTER' }],
    ['a field called constructor', 'nonce', { constructor: 1 }],
    ['a list of two as params', 'nonce', [{}, {}]],
    ['a ttl of 0', 'acquire', { ttlMs: 0 }],
    ['a negative ttl', 'acquire', { ttlMs: -20_000 }],
    ['a ttl over ten minutes', 'acquire', { ttlMs: 600_001 }],
    ['a negative wait', 'acquire', { waitMs: -1 }],
    ['a wait of 2^53', 'acquire', { waitMs: 2 ** 53 }],
    ['an unknown priority', 'acquire', { priority: 'asap' }],
    ['a priority that is a method of all objects', 'acquire', { priority: 'toString' }],
    ['a label with a control character', 'acquire', { label: 'order\u001b[2J' }],
    ['a label of 65 bytes in 33 characters', 'acquire', { label: `${'é'.repeat(32)}e` }],
    ['a key in place of its fingerprint', 'acquire', { key: 'AbCdEf0123456789AbCdEf0123456789' }],
    ['no token', 'renew', {}],
    ['a negative token', 'release', { token: -5 }],
    ['a token of 2^53', 'release', { token: String(2n ** 53n) }],
    ['a token of 2^64', 'release', { token: String(2n ** 64n) }],
    ['a token that is a map', 'next', { token: { $gt: 0 } }],
    ['an unknown outcome', 'release', { token: '5', outcome: 'fine' }],
    ['a session that is not 32 hex digits', 'hello', { session: 'x'.repeat(32) }],
    ['a pid of 0', 'hello', { pid: 0 }],
    ['fields for status', 'status', { verbose: true }],
    ['a cancel with an answer', 'cancel', { id: 1 }],
    ['a map as the id to cancel', 'cancel', { id: {} }],
  ];

  test('every wrong type, field and number is refused by name, and the connection lives on', async ({ raw }) => {
    const connection = await raw(encoding);
    for (const [what, method, params] of wrongParams) {
      const { code, sent, message } = await connection.refusal(connection.request(method, params as object));
      expect([what, code, sent]).toEqual([what, 'BAD_REQUEST', false]);
      // It quotes at most 40 characters of what came in, and names the fix.
      expect(message.length, message).toBeLessThan(300);
    }
    expect(await connection.ask('nonce')).toMatchObject({ count: 1 });
    expect(connection.messages).toHaveLength(wrongParams.length + 1);
  });

  test('a value that may be a key or a session is never quoted back', async ({ daemon, raw }) => {
    const connection = await raw(encoding);
    const secret = 'kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd';
    for (const [method, params] of [
      ['acquire', { key: secret }],
      ['hello', { session: secret }],
    ] as const) {
      const { message } = await connection.refusal(connection.request(method, params));
      expect(message).not.toContain(secret.slice(0, 8));
    }
    expect(daemon.log()).not.toContain(secret.slice(0, 8));
  });

  test.for(['', 'no-such-method', 'constructor', '__proto__', 'toString', 'hello\n', 'x'.repeat(3000)])(
    'the method %j is unknown',
    async (method, { raw }) => {
      const connection = await raw(encoding);
      const refused = await connection.refusal(connection.request(method));
      expect(refused.code).toBe('UNKNOWN_METHOD');
      expect(refused.message.length).toBeLessThan(300);
      expect(await connection.ask('nonce')).toMatchObject({ count: 1 });
    },
  );

  test("an operator's methods are forbidden on the bots' socket and change nothing", async ({ raw }) => {
    const connection = await raw(encoding);
    for (const [method, params] of [
      ['advance', { by: '1000000000000', maxLeadMs: Number.MAX_SAFE_INTEGER }],
      ['set-exclusive', { policy: 'off' }],
    ] as const) {
      expect(await connection.refusal(connection.request(method, params))).toMatchObject({ code: 'FORBIDDEN' });
    }
    expect(await connection.ask('status')).toMatchObject({ exclusive: 'global' });
  });

  test("I5: another connection's token renews, releases and draws nothing", async ({ raw }) => {
    const holder = await raw(encoding);
    const thief = await raw(encoding);
    const { token } = await holder.ask('acquire');
    await expect(thief.ask('renew', { token })).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await expect(thief.ask('next', { token })).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect(await thief.ask('release', { token })).toEqual({ released: false });
    expect(await holder.ask('release', { token })).toEqual({ released: true });
    expect(await holder.ask('release', { token })).toEqual({ released: false });
  });

  test('a message of exactly 4,096 bytes is a message, and one byte more closes the connection', async ({ raw }) => {
    const connection = await raw(encoding);
    const whole = messageOfLength(encoding, MAX_MESSAGE_BYTES, 7);
    expect(whole).toHaveLength(MAX_MESSAGE_BYTES);
    connection.send(whole);
    expect(await connection.refusal(7)).toMatchObject({ code: 'BAD_REQUEST' });
    connection.send(messageOfLength(encoding, MAX_MESSAGE_BYTES + 1, 8));
    await connection.closed();
    expect(connection.messages.at(-1)).toMatchObject({ kind: 'error', error: { code: 'TOO_LARGE', sent: false } });
    expect(connection.messages).toHaveLength(2);
  });

  test('a message that grows beyond 4,096 bytes closes the connection before its end has come', async ({ raw }) => {
    const connection = await raw(encoding);
    const endless = messageOfLength(encoding, 200_000, 7);
    for (let sent = 0; sent < endless.length && !connection.isEnded; sent += 1000) {
      connection.send(endless.subarray(sent, sent + 1000));
      await new Promise(setImmediate);
    }
    await connection.closed();
    expect(connection.messages).toMatchObject([{ kind: 'error', error: { code: 'TOO_LARGE' } }]);
  });

  test('half a message and then silence holds up no other client', async ({ raw, serveBeside }) => {
    const silent = await raw(encoding);
    const whole = messageOfLength(encoding, 400, 7);
    silent.send(whole.subarray(0, 200));
    await serveBeside(encoding);
    silent.send(whole.subarray(200));
    expect(await silent.refusal(7)).toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('half a message and then the end of the connection is dropped', async ({ raw }) => {
    const connection = await raw(encoding);
    connection.send(messageOfLength(encoding, 400, 7).subarray(0, 200));
    connection.end();
    await connection.closed();
    // A last line of JSON may lack its line end, so this one is answered as invalid JSON.
    if (encoding === 'msgpack') expect(connection.messages).toEqual([]);
    else expect(connection.messages).toMatchObject([{ error: { code: 'BAD_REQUEST' } }]);
  });

  test('requests that arrive a byte at a time are answered as if they had come whole', async ({ raw }) => {
    const connection = await raw(encoding);
    const requests = Buffer.concat(
      [1, 2, 3].map((id) => Buffer.from(connection.codec.request(id, 'nonce', { account: 'MASTER', count: id }))),
    );
    for (const byte of requests) {
      connection.send(Uint8Array.of(byte));
      await new Promise(setImmediate);
    }
    await connection.count(3);
    for (const id of [1, 2, 3]) expect(Number((await connection.answer(id))['count'])).toBe(id);
  });

  test('an id that is still waiting cannot be used again, and its first request keeps its place', async ({ raw }) => {
    const holder = await raw(encoding);
    const waiter = await raw(encoding);
    const { token } = await holder.ask('acquire');
    waiter.request('acquire', {}, 5);
    waiter.request('acquire', {}, 5);
    waiter.request('nonce', {}, 5);
    await waiter.count(2);
    expect(waiter.messages).toMatchObject([
      { kind: 'error', id: 5, error: { code: 'BAD_REQUEST' } },
      { kind: 'error', id: 5, error: { code: 'BAD_REQUEST' } },
    ]);
    await holder.ask('release', { token });
    await waiter.count(3);
    expect(waiter.messages[2]).toMatchObject({ kind: 'answer', id: 5, result: { count: expect.anything() } });
  });

  test('notifications are never answered, even wrong ones', async ({ raw }) => {
    const connection = await raw(encoding);
    for (const [method, params] of [
      ['nonce', {}],
      ['acquire', {}],
      ['no-such-method', {}],
      ['release', { token: '12345' }],
      ['release', { token: [] }],
      ['cancel', { id: 77 }],
      ['cancel', {}],
      ['advance', { to: 'now' }],
    ] as const) {
      connection.notify(method, params);
    }
    expect(await connection.ask('status')).toMatchObject({ totals: { leases: 0, waiting: 0 } });
    expect(connection.messages).toHaveLength(1);
  });

  test('an answer to nothing is refused, and the connection lives on', async ({ raw }) => {
    const connection = await raw(encoding);
    connection.send(connection.codec.answer(3, { nonce: 1 }));
    connection.send(connection.codec.refusal(3, { code: 'LIMIT', message: 'no' }));
    await connection.count(2);
    for (const message of connection.messages) expect(message).toMatchObject({ error: { code: 'BAD_REQUEST' } });
    expect(await connection.ask('nonce')).toMatchObject({ count: expect.anything() });
  });

  test('100,000 requests, a thousand and more of them unanswered at any time, are all answered in order, I2', async ({
    raw,
  }) => {
    const connection = await raw(encoding);
    const requests = 100_000;
    const batch = 500;
    for (let id = 1; id <= requests; id += batch) {
      const bytes = Array.from({ length: batch }, (_, index) => connection.codec.request(id + index, 'nonce', {}));
      connection.send(Buffer.concat(bytes));
      // More would be 256 KiB of answers, and the connection would be closed if we were slower to read than it to write.
      await connection.count(Math.max(0, id - 2 * batch));
    }
    await connection.count(requests);
    let before = 0n;
    let outOfOrder = 0;
    connection.messages.forEach((message, index) => {
      const { id, result } = message as unknown as { id: number; result: { nonce: string | bigint } };
      const nonce = BigInt(result.nonce);
      if (id !== index + 1 || nonce <= before) outOfOrder += 1;
      before = nonce;
    });
    expect(outOfOrder).toBe(0);
  });

  test('a client that never reads its answers is cut off, and the memory it took comes back', async ({
    daemon,
    raw,
    status,
  }) => {
    const deaf = await raw(encoding);
    deaf.pause();
    const bytes = Buffer.concat(
      Array.from({ length: 500 }, (_, index) => Buffer.from(deaf.codec.request(index, 'status', {}))),
    );
    let highest = 0;
    await eventually('the daemon closes it', async () => {
      if (deaf.unsentBytes < MEBIBYTE) deaf.send(bytes);
      highest = Math.max(highest, daemon.residentBytes());
      return (await status()).totals.connections === 1;
    });
    expect(highest).toBeLessThan(firstMemory + MEMORY_SLACK);
  });

  test('a connection has 1,000 requests waiting at most, and keeps them when one more is refused', async ({
    raw,
    status,
    serveBeside,
  }) => {
    const holder = await raw(encoding);
    const { token } = await holder.ask('acquire');
    const greedy = await raw(encoding);
    for (let id = 1; id <= WAITING_PER_CONNECTION; id += 1) greedy.request('acquire', {}, id);
    expect(await greedy.refusal(greedy.request('acquire'))).toMatchObject({ code: 'LIMIT', sent: false });
    expect(greedy.messages).toHaveLength(1);
    // What needs no waiting is answered all the same.
    expect(await greedy.ask('status')).toMatchObject({ totals: { waiting: expect.anything() } });
    expect((await status()).totals.waiting).toBe(WAITING_PER_CONNECTION);
    await serveBeside(encoding, 'nonce');
    expect(await holder.ask('release', { token })).toEqual({ released: true });
    expect(await greedy.answer(1)).toMatchObject({ count: expect.anything() });
  });
});

/** A request with a field of the right size to make it `length` bytes long, line end included. */
function messageOfLength(encoding: Encoding, length: number, id: number): Buffer {
  if (encoding === 'json') {
    const [head, tail] = [`{"jsonrpc":"2.0","id":${id},"method":"nonce","params":{"account":"`, '"}}\n'];
    return Buffer.from(`${head}${'a'.repeat(length - head.length - tail.length)}${tail}`);
  }
  const method = Buffer.from('\xa5nonce', 'latin1');
  const head = Buffer.concat([Buffer.of(0x94, 0, id), method, Buffer.of(0x91, 0x81, 0xa7), Buffer.from('account')]);
  const text = Buffer.alloc(5 + length - head.length - 5, 'a');
  text[0] = 0xdb;
  text.writeUInt32BE(length - head.length - 5, 1);
  return Buffer.concat([head, text]);
}

const INVALID_JSON: readonly (readonly [what: string, line: string, code: number, id: number | string | null])[] = [
  ['cut short', '{"jsonrpc":"2.0","id":1', -32700, null],
  ['NaN', '{"jsonrpc":"2.0","id":1,"method":"nonce","params":{"count":NaN}}', -32700, null],
  ['a comment', '{"jsonrpc":"2.0","id":1,"method":"nonce"} // please', -32700, null],
  ['nothing but braces', '{}', -32600, null],
  ['no jsonrpc', '{"id":1,"method":"nonce"}', -32600, 1],
  ['another jsonrpc', '{"jsonrpc":"1.0","id":1,"method":"nonce"}', -32600, 1],
  ['no method', '{"jsonrpc":"2.0","id":1}', -32600, 1],
  ['a number as the method', '{"jsonrpc":"2.0","id":1,"method":2}', -32600, 1],
  ['an unknown key', '{"jsonrpc":"2.0","id":1,"method":"nonce","extra":1}', -32600, 1],
  ['null as the id', '{"jsonrpc":"2.0","id":null,"method":"nonce"}', -32600, null],
  ['half an id', '{"jsonrpc":"2.0","id":1.5,"method":"nonce"}', -32600, null],
  ['an id over 2^53', '{"jsonrpc":"2.0","id":9007199254740993,"method":"nonce"}', -32600, null],
  ['an id of 65 bytes', `{"jsonrpc":"2.0","id":"${'x'.repeat(65)}","method":"nonce"}`, -32600, null],
  ['a list as the id', '{"jsonrpc":"2.0","id":[1],"method":"nonce"}', -32600, null],
  ['null as params', '{"jsonrpc":"2.0","id":1,"method":"nonce","params":null}', -32600, 1],
  ['text as params', '{"jsonrpc":"2.0","id":1,"method":"nonce","params":"MASTER"}', -32600, 1],
  ['a number beyond all doubles', '{"jsonrpc":"2.0","id":1,"method":"nonce","params":{"count":1e999}}', -32602, 1],
  ['a prototype', '{"jsonrpc":"2.0","id":1,"method":"nonce","params":{"__proto__":{"count":1}}}', -32602, 1],
  ['1,800 lists in one another', `{"jsonrpc":"2.0","id":1,"method":"nonce","params":${deep(1800)}}`, -32602, 1],
  ['a key twice, the last of which counts', '{"jsonrpc":"2.0","id":1,"method":"nonce","id":2,"x":1}', -32600, 2],
];

function deep(levels: number): string {
  return `${'['.repeat(levels)}1,1${']'.repeat(levels)}`;
}

test.for(INVALID_JSON)(
  'a line of JSON with %s is refused with the right number',
  async ([_, line, code, id], { raw }) => {
    const connection = await raw();
    connection.send(`${line}\n`);
    connection.request('nonce', {}, 9);
    expect(await connection.answer(9)).toMatchObject({ count: 1 });
    const [refused, answered] = connection.text.split('\n');
    expect(JSON.parse(refused ?? '')).toMatchObject({ jsonrpc: '2.0', id, error: { code, data: { sent: false } } });
    expect(JSON.parse(answered ?? '')).toMatchObject({ jsonrpc: '2.0', id: 9, result: { nonce: expect.any(String) } });
  },
);

test('a batch after a first request is refused, and none of it is done', async ({ raw }) => {
  const connection = await raw();
  await connection.ask('status');
  connection.send('[{"jsonrpc":"2.0","id":1,"method":"acquire"},{"jsonrpc":"2.0","id":2,"method":"acquire"}]\n');
  await connection.count(2);
  expect(connection.messages[1]).toMatchObject({ kind: 'error', error: { code: 'BAD_REQUEST' } });
  expect(await connection.ask('status')).toMatchObject({ totals: { leases: 0, waiting: 0 } });
});

test('empty lines, blanks and carriage returns between lines of JSON are ignored', async ({ raw }) => {
  const connection = await raw();
  connection.send(
    '{"jsonrpc":"2.0","id":1,"method":"nonce"}\r\n\r\n   \n\n\t\n{"jsonrpc":"2.0","id":2,"method":"nonce"}\n',
  );
  await connection.count(2);
  expect(connection.messages).toMatchObject([{ id: 1 }, { id: 2 }]);
});

const NO_MESSAGES: readonly (readonly [what: string, bytes: Buffer])[] = [
  ['a batch as the first line', Buffer.from('[{"jsonrpc":"2.0","id":1,"method":"nonce"}]\n')],
  ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  ['a TLS handshake', Buffer.from('16030100c8010000c40303', 'hex')],
  ['a line end first', Buffer.from('\n{"jsonrpc":"2.0","id":1,"method":"nonce"}\n')],
  ['a byte order mark', Buffer.from('\ufeff{"jsonrpc":"2.0","id":1,"method":"nonce"}\n')],
  ['zeroes', Buffer.alloc(64)],
  ['an array of two', Buffer.from('9200c0', 'hex')],
  ['an array of five', Buffer.from('9500c0c0c0c0', 'hex')],
  ['a map', Buffer.from('81a16101', 'hex')],
  ['a record definition of msgpackr', Buffer.from('940001a56e6f6e6365d47240', 'hex')],
  ['a date as a parameter', Buffer.from('940001a56e6f6e636591d6ff5a4af6a5', 'hex')],
  ['a bigint extension', Buffer.from('940001a56e6f6e636591c70142ff', 'hex')],
  ['a set of msgpackr', Buffer.from('940001a56e6f6e636591d473009101', 'hex')],
  ['an extension of 4 GiB', Buffer.from('940001a56e6f6e636591c9ffffffff00', 'hex')],
  ['a text of 4 GiB', Buffer.from('940001dbffffffff61', 'hex')],
  ['a list of 4 billion', Buffer.from('940001a56e6f6e6365ddffffffff', 'hex')],
  ['a map of 4 billion', Buffer.from('940001a56e6f6e636591dfffffffff', 'hex')],
  ['nine levels', Buffer.concat([Buffer.from('940001a56e6f6e6365', 'hex'), Buffer.alloc(8, 0x91), Buffer.of(1)])],
  ['the byte that is never used', Buffer.from('940001a56e6f6e6365c1', 'hex')],
  ['JSON behind a whole message', Buffer.concat([Buffer.from('940001a67374617475739080', 'hex'), Buffer.from('{}\n')])],
];

test.for(NO_MESSAGES)('%s is not a message: it is answered and the connection closed', async ([_, bytes], { raw }) => {
  const connection = await raw(bytes[0] === 0x94 ? 'msgpack' : 'json');
  connection.send(bytes);
  await connection.closed();
  expect(connection.messages.at(-1)).toMatchObject({ kind: 'error', error: { code: expect.any(String), sent: false } });
});

test('binary on a connection that began with JSON closes it after what came before was answered', async ({ raw }) => {
  const connection = await raw();
  connection.send(
    Buffer.concat([Buffer.from('{"jsonrpc":"2.0","id":1,"method":"nonce"}\n'), Buffer.from('940001', 'hex')]),
  );
  await connection.closed();
  expect(connection.messages).toMatchObject([
    { kind: 'answer', id: 1 },
    { kind: 'error', error: { code: 'BAD_REQUEST' } },
  ]);
});

const ODD_MSGPACK: readonly (readonly [what: string, hex: string, id: number])[] = [
  ['NaN as a count', '940007a56e6f6e63659181a5636f756e74cb7ff8000000000000', 7],
  ['infinity as a count', '940007a56e6f6e63659181a5636f756e74cb7ff0000000000000', 7],
  ['minus zero as a count', '940007a56e6f6e63659181a5636f756e74cb8000000000000000', 7],
  ['2^64 - 1 as a count', '940007a56e6f6e63659181a5636f756e74cfffffffffffffffff', 7],
  ['-2^63 as a count', '940007a56e6f6e63659181a5636f756e74d38000000000000000', 7],
  ['bytes as an account', '940007a56e6f6e63659181a76163636f756e74c4024142', 7],
  ['a list as a key', '940007a56e6f6e636591819101c0', 0],
  ['a number as a key', '940007a56e6f6e636591810501', 7],
  ['a negative id', '9400ffa56e6f6e636590', 0],
  ['a text as the id', '9400a137a56e6f6e636590', 0],
  ['an id of 33 bits', '9400cf0000000100000000a56e6f6e636590', 0],
  ['a number as the method', '9400070590', 7],
  ['a map as params', '940007a56e6f6e636580', 7],
  ['a message type of 3', '940307a56e6f6e636590', 0],
  ['text that is not UTF-8 as an account', '940007a56e6f6e63659181a76163636f756e74a2fffe', 7],
];

test.for(ODD_MSGPACK)('%s in MessagePack is refused and the connection lives on', async ([_, hex, id], { raw }) => {
  const connection = await raw('msgpack');
  connection.send(Buffer.from(hex, 'hex'));
  expect(await connection.refusal(id)).toMatchObject({ code: 'BAD_REQUEST', sent: false });
  expect(await connection.ask('nonce')).toMatchObject({ count: expect.anything() });
});

test('random bytes after a believable head never end the daemon', async ({ daemon, place }) => {
  let seed = 20_261_122;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const heads = ['94000', '93', '94', '{"jsonrpc":"2.0",', '{"', ''];
  for (let round = 0; round < 300; round += 1) {
    const head = heads[random(heads.length)] ?? '';
    const begin = head.startsWith('9') ? Buffer.from(head.padEnd(6, '0'), 'hex') : Buffer.from(head);
    const noise = Buffer.from(Array.from({ length: random(200) }, () => random(256)));
    const connection = await RawConnection.open(place.socket, 'json');
    connection.send(Buffer.concat([begin, noise]));
    connection.end();
    connection.destroy();
  }
  expect(daemon.child.exitCode).toBeNull();
});

test('with 10,000 waiting the next request is refused with LIMIT, and is served once they are gone', async ({
  raw,
  status,
}) => {
  const holder = await raw();
  await holder.ask('acquire', { ttlMs: 600_000 });
  const crowd: RawConnection[] = [];
  for (let index = 0; index < WAITING / WAITING_PER_CONNECTION; index += 1) {
    const one = await raw('msgpack');
    crowd.push(one);
    const bytes = Array.from({ length: WAITING_PER_CONNECTION }, (_, id) =>
      one.codec.request(id + 1, 'acquire', { account: `USER:${index}`, waitMs: 600_000 }),
    );
    one.send(Buffer.concat(bytes));
  }
  await eventually('all are waiting', async () => (await status()).totals.waiting === WAITING);
  const late = await raw();
  await expect(late.ask('acquire')).rejects.toBeInstanceOf(Refused);
  expect(late.messages).toMatchObject([{ error: { code: 'LIMIT', sent: false } }]);
  expect(crowd.every((one) => one.messages.length === 0)).toBe(true);
  // A first one gives up, and its place is free.
  crowd[0]?.notify('cancel', { id: 1 });
  expect(await crowd[0]?.refusal(1)).toMatchObject({ code: 'CANCELLED' });
  const id = late.request('acquire', { priority: 'urgent' });
  await eventually('the place is taken', async () => (await status()).totals.waiting === WAITING);
  for (const one of crowd) one.destroy();
  holder.destroy();
  expect(await late.answer(id)).toMatchObject({ count: 1 });
});

test('with 1,000 accounts at work the next one is refused with LIMIT, and idle ones are forgotten', async ({
  raw,
  status,
}) => {
  const holder = await raw();
  await holder.ask('acquire', { account: 'busy-0' });
  const busy = await raw();
  for (let index = 1; index < ACCOUNTS; index += 1) busy.request('acquire', { account: `busy-${index}` }, index);
  await eventually('all are waiting', async () => (await status()).totals.waiting === ACCOUNTS - 1);
  const late = await raw();
  await expect(late.ask('nonce', { account: 'one-more' })).rejects.toMatchObject({ code: 'LIMIT' });
  expect(await late.ask('nonce', { account: 'busy-1' })).toMatchObject({ count: 1 });
  busy.destroy();
  await eventually('they are gone', async () => (await status()).totals.waiting === 0);
  // Not all at once: an account that is waiting for its first nonce is at work.
  for (let index = 0; index < ACCOUNTS + 100; index += 1) {
    late.request('nonce', { account: `idle-${index}` }, index);
    if (index % 500 === 499) await late.count(2 + index + 1);
  }
  await late.count(2 + ACCOUNTS + 100);
  expect(late.messages.slice(2).every((message) => message.kind === 'answer')).toBe(true);
});

test("1,024 connections that hold or wait and one more: that one is closed, the others and the operator's socket are served", async ({
  daemon,
  place,
  raw,
  status,
}) => {
  while (raw.opened.length < CONNECTIONS) (await raw()).request('acquire', { waitMs: 600_000 });
  await eventually('all but one wait', async () => (await status()).totals.waiting === CONNECTIONS - 1);
  const oneMore = await RawConnection.open(place.socket);
  oneMore.request('nonce');
  await oneMore.closed();
  expect(oneMore.messages).toEqual([]);
  expect((await status()).totals.connections).toBe(CONNECTIONS + 1);
  expect(await raw.opened.at(-1)?.ask('nonce')).toMatchObject({ count: 1 });
  await daemon.says('connections refused');
  raw.opened.pop()?.destroy();
  await eventually('the place of one that left is free', async () => {
    const again = await raw();
    return again.ask('nonce').catch(() => undefined);
  });
});
