import type { Codec, Message, Request } from '../../src/protocol/messages.ts';

const TOKEN = 1_784_000_000_000_001n;
const NONCE = 1_784_000_000_000_000_000n;
const SESSION = '0123456789abcdef0123456789abcdef';
const KEY = 'fedcba9876543210';

/** Every method with all its fields, and what the check makes of it. */
export const CALLS: readonly { readonly params: Record<string, unknown>; readonly request: Request }[] = [
  {
    params: { name: 'copy-trader é', pid: 2147483647, session: SESSION },
    request: { method: 'hello', name: 'copy-trader é', pid: 2147483647, session: SESSION },
  },
  { params: { account: 'MASTER', count: 1000 }, request: { method: 'nonce', account: 'MASTER', count: 1000 } },
  {
    params: {
      account: 'USER:alice@desk.1_a-b',
      key: KEY,
      unit: 'ns',
      priority: 'urgent',
      cost: 0.5,
      ttlMs: 600_000,
      waitMs: 0,
      label: 'AddOrder ✓',
      count: 2,
      within: [TOKEN],
    },
    request: {
      method: 'acquire',
      account: 'USER:alice@desk.1_a-b',
      key: KEY,
      unit: 'ns',
      priority: 'urgent',
      cost: 0.5,
      ttlMs: 600_000,
      waitMs: 0,
      label: 'AddOrder ✓',
      count: 2,
      within: [Number(TOKEN)],
    },
  },
  {
    params: { token: TOKEN, account: 'MASTER', key: KEY, unit: 'us', cost: 1_000_000, count: 3 },
    request: {
      method: 'next',
      token: Number(TOKEN),
      account: 'MASTER',
      key: KEY,
      unit: 'us',
      cost: 1_000_000,
      count: 3,
    },
  },
  { params: { token: TOKEN, ttlMs: 1 }, request: { method: 'renew', token: Number(TOKEN), ttlMs: 1 } },
  {
    params: { token: TOKEN, outcome: 'invalid-nonce', usedOwnClock: true },
    request: { method: 'release', token: Number(TOKEN), outcome: 'invalid-nonce', usedOwnClock: true },
  },
  {
    params: { token: TOKEN, nonce: NONCE, outcome: 'ok' },
    request: { method: 'report', token: Number(TOKEN), nonce: NONCE, outcome: 'ok' },
  },
  { params: { id: 7 }, request: { method: 'cancel', id: 7 } },
  { params: { expected: 'a'.repeat(32) }, request: { method: 'refuse', expected: 'a'.repeat(32) } },
  { params: {}, request: { method: 'policy' } },
  { params: {}, request: { method: 'status' } },
  {
    params: { sequence: 'spot', to: 2n ** 64n - 1n, maxLeadMs: 0 },
    request: {
      method: 'advance',
      sequence: 'spot',
      account: undefined,
      target: { kind: 'to', nonce: 2n ** 64n - 1n },
      maxLeadMs: 0,
    },
  },
  { params: { account: 'MASTER' }, request: { method: 'why', account: 'MASTER' } },
  { params: { account: 'MASTER' }, request: { method: 'pause', account: 'MASTER' } },
  { params: { account: 'MASTER' }, request: { method: 'resume-account', account: 'MASTER' } },
  { params: { policy: 'account' }, request: { method: 'set-exclusive', policy: 'account' } },
];

/** What a daemon says: results, the notification, and an error with all its fields. */
const RESULTS: readonly Record<string, unknown>[] = [
  { protocol: 1, version: '0.1.0', instance: 'a1', epoch: 3, exclusive: 'global', limits: { count: 1000 }, held: [] },
  { held: [{ token: TOKEN, account: 'MASTER', id: null, ttlMs: 900 }] },
  { nonce: NONCE, count: 1, token: TOKEN, ttlMs: 30_000, waitedMs: 12 },
  { released: true },
  { before: 2n ** 63n - 1n, after: 2n ** 64n - 1n, sequence: 'default', unit: 'ns', accounts: ['MASTER'] },
  { sequences: [{ name: 'default', leadMs: -1234.5, last: NONCE }], lanes: [{ holders: [{ heldMs: 5, pid: null }] }] },
];

/** All of them as the codec writes them, with the message each should be read as. */
export function everyMessage(codec: Codec): readonly { readonly bytes: Uint8Array; readonly message: Message }[] {
  const calls = CALLS.flatMap(({ params, request: { method } }, index) => [
    {
      bytes: codec.request(index + 1, method, params),
      message: { kind: 'request', id: index + 1, method, params: onTheWire(codec, params) } as const,
    },
    {
      bytes: codec.notification(method, params),
      message: { kind: 'notification', method, params: onTheWire(codec, params) } as const,
    },
  ]);
  const answers = RESULTS.map((result, index) => ({
    bytes: codec.answer(index + 1, result),
    message: { kind: 'answer', id: index + 1, result: onTheWire(codec, result) } as const,
  }));
  const refused = { code: 'PACED', message: 'the bucket of MASTER is full; ask again later' } as const;
  return [
    ...calls,
    ...answers,
    {
      bytes: codec.notification('revoked', { token: TOKEN, reason: 'expired' }),
      message: {
        kind: 'notification',
        method: 'revoked',
        params: onTheWire(codec, { token: TOKEN, reason: 'expired' }),
      },
    },
    {
      bytes: codec.refusal(9, { ...refused, retryAfterMs: 1500 }),
      message: { kind: 'error', id: 9, error: { ...refused, sent: false, retryAfterMs: 1500 } },
    },
    { bytes: codec.refusal(9, refused), message: { kind: 'error', id: 9, error: { ...refused, sent: false } } },
    { bytes: codec.refusal(undefined, refused), message: { kind: 'error', id: 0, error: { ...refused, sent: false } } },
  ];
}

/** In JSON a bigint is a decimal string. */
function onTheWire(codec: Codec, value: unknown): unknown {
  if (codec.encoding === 'msgpack') return value;
  return JSON.parse(JSON.stringify(value, (_key, inner) => (typeof inner === 'bigint' ? `${inner}` : inner)));
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

export function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
}
