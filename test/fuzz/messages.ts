import fc from 'fast-check';
import type { Codec } from '../../src/protocol/messages.ts';

const METHODS = [
  'hello',
  'nonce',
  'acquire',
  'next',
  'renew',
  'release',
  'cancel',
  'refuse',
  'status',
  'why',
  'pause',
  'resume-account',
  'advance',
  'set-exclusive',
  'no-such',
  '__proto__',
] as const;
const FIELDS = [
  'account',
  'count',
  'token',
  'ttlMs',
  'waitMs',
  'priority',
  'cost',
  'key',
  'unit',
  'label',
  'outcome',
  'session',
  'name',
  'pid',
  'id',
  'to',
  'by',
  'policy',
  'maxLeadMs',
  'usedOwnClock',
  '__proto__',
  'constructor',
  'toString',
] as const;
const WORDS = [
  'MASTER',
  'urgent',
  'global',
  'off',
  'ns',
  'ok',
  'now',
  '0',
  '-1',
  '18446744073709551616',
  '',
  'é',
  '\u0000',
  '\u202e',
];
const method = fc.constantFrom(...METHODS);
const field = fc.constantFrom(...FIELDS);
const word = fc.oneof(
  fc.constantFrom(...WORDS),
  fc.constantFrom('f'.repeat(16), '0'.repeat(32)),
  fc.string({ maxLength: 70 }),
);

/** Bytes of a client that knows the protocol and means ill: mostly whole messages of known methods, with lies in them. */
export function hostileStream(encoding: Codec['encoding']): fc.Arbitrary<Uint8Array> {
  const messages = fc.array(encoding === 'msgpack' ? msgpackMessage : jsonLine, { minLength: 1, maxLength: 8 });
  return messages.map((parts) => Buffer.concat(parts));
}

// --- MessagePack, built byte by byte: no encoder would write most of it.

function bigEndian(value: bigint, width: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, value));
  return bytes.subarray(8 - width);
}

const headed = (head: number, width: number, length: number, ...content: Uint8Array[]): Buffer =>
  Buffer.concat([Buffer.of(head), bigEndian(BigInt(length), width), ...content]);

/** Usually nothing: how much longer or shorter a length says it is. */
const lie = fc.oneof(
  { weight: 30, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.constantFrom(-1, 1, 255, 65_535, 2 ** 32 - 300) },
);

function text(content: string | Uint8Array, style: number, off: number): Buffer {
  const bytes = Buffer.from(content);
  const length = Math.max(0, bytes.length + off);
  if (style === 0 && length < 32) return Buffer.concat([Buffer.of(0xa0 | length), bytes]);
  const width = style <= 1 && length < 256 ? 1 : style <= 2 && length < 65_536 ? 2 : 4;
  return headed({ 1: 0xd9, 2: 0xda, 4: 0xdb }[width] ?? 0xdb, width, length, bytes);
}

const anyText = fc
  .tuple(fc.oneof({ weight: 3, arbitrary: word }, fc.uint8Array({ maxLength: 8 })), fc.nat(3), lie)
  .map(([content, style, off]) => text(content, style, off));
const knownText = (of: fc.Arbitrary<string>) =>
  fc.tuple(of, fc.nat(3)).map(([content, style]) => text(content, style, 0));

const anyInteger = fc
  .tuple(
    fc.oneof(
      fc.constantFrom(0n, 1n, -1n, 1000n, 1001n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
      fc.bigInt(-300n, 70_000n),
    ),
    fc.constantFrom([0xcc, 1], [0xcd, 2], [0xce, 4], [0xcf, 8], [0xd0, 1], [0xd1, 2], [0xd2, 4], [0xd3, 8]),
  )
  .map(([value, [head = 0, width = 0]]) => Buffer.concat([Buffer.of(head), bigEndian(value, width)]));
const anyFloat = fc.oneof(fc.double(), fc.constantFrom(Number.NaN, -0, 1e308, 5e-324)).map((value) => {
  const bytes = Buffer.alloc(9, 0xcb);
  bytes.writeDoubleBE(value, 1);
  return bytes;
});
/** Extension types, above all those that an unpacker would act on: dates, sets, records, errors, pointers. */
const extension = fc
  .tuple(
    fc.constantFrom(0xff, 0x42, 0x65, 0x70, 0x72, 0x73, 0x74, 0x78, 0x62, 0),
    fc.uint8Array({ maxLength: 16 }),
    fc.nat(4),
    lie,
  )
  .map(([type, content, style, off]) => {
    const fixed = { 1: 0xd4, 2: 0xd5, 4: 0xd6, 8: 0xd7, 16: 0xd8 }[content.length];
    if (style === 0 && fixed !== undefined) return Buffer.concat([Buffer.of(fixed, type), content]);
    const [head, width] = (
      [
        [0xc7, 1],
        [0xc8, 2],
        [0xc9, 4],
      ] as const
    )[style % 3] ?? [0xc7, 1];
    return headed(head, width, content.length + off, Buffer.of(type), content);
  });
const single = fc
  .constantFrom(0xc0, 0xc1, 0xc2, 0xc3, 0x00, 0x07, 0x7f, 0xff, 0x90, 0x80, 0xa0)
  .map((byte) => Buffer.of(byte));

const { value } = fc.letrec<{ value: Buffer }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 9, withCrossShrink: true },
    { weight: 6, arbitrary: single },
    { weight: 6, arbitrary: anyInteger },
    { weight: 2, arbitrary: anyFloat },
    { weight: 6, arbitrary: anyText },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.uint8Array({ maxLength: 8 }), lie).map(([b, off]) => headed(0xc4, 1, b.length + off, b)),
    },
    { weight: 1, arbitrary: extension },
    {
      weight: 3,
      arbitrary: fc
        .tuple(fc.array(tie('value'), { maxLength: 4 }), fc.nat(2), lie)
        .map(([items, style, off]) => container(items, items.length + off, style, 0x90, 0xdc)),
    },
    {
      weight: 3,
      arbitrary: fc
        .tuple(fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 4 }), fc.nat(2), lie)
        .map(([pairs, style, off]) => container(pairs.flat(), pairs.length + off, style, 0x80, 0xde)),
    },
  ),
}));

function container(items: readonly Buffer[], length: number, style: number, fixed: number, head: number): Buffer {
  const said = Math.max(0, length);
  if (style === 0 && said < 16) return Buffer.concat([Buffer.of(fixed | said), ...items]);
  const width = style <= 1 && said < 65_536 ? 2 : 4;
  return headed(width === 2 ? head : head + 1, width, said, ...items);
}

/** What a field is usually given, right or wrong. */
const fieldValue = fc.oneof(
  { weight: 4, arbitrary: knownText(word) },
  { weight: 4, arbitrary: anyInteger },
  { weight: 1, arbitrary: value },
);
const params = fc.oneof(
  { weight: 1, arbitrary: fc.constant(Buffer.of(0x90)) },
  {
    weight: 6,
    arbitrary: fc
      .array(fc.tuple(knownText(field), fieldValue), { maxLength: 3 })
      .map((fields) => Buffer.concat([Buffer.of(0x91), container(fields.flat(), fields.length, 0, 0x80, 0xde)])),
  },
  { weight: 1, arbitrary: value },
);
const id = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 3 }).map((small) => Buffer.of(small)) },
  anyInteger,
  single,
);
const msgpackMessage = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.tuple(id, knownText(method), params).map((parts) => Buffer.concat([Buffer.of(0x94, 0), ...parts])),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(knownText(method), params).map((parts) => Buffer.concat([Buffer.of(0x93, 2), ...parts])),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(value, value, value, value).map((parts) => Buffer.concat([Buffer.of(0x94), ...parts])),
  },
  { weight: 1, arbitrary: value },
);

// --- JSON, as text: a serialiser would never write a key twice, or half of a surrogate pair.

const scalar = fc.oneof(
  fc.constantFrom(
    'null',
    'true',
    'NaN',
    '1e999',
    '-0',
    '01',
    '9'.repeat(400),
    '9007199254740993',
    '1.5',
    '1e2',
    '""',
    '"\\ud800"',
    '"\\u0000"',
    '"\\x"',
    '{',
    ']',
    '',
  ),
  fc.integer({ min: -2, max: 2000 }).map(String),
  word.map((content) => JSON.stringify(content)),
  fc.bigInt().map((big) => `"${big}"`),
);
const { json } = fc.letrec<{ json: string }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    { weight: 5, arbitrary: scalar },
    fc.array(tie('json'), { maxLength: 3 }).map((items) => `[${items.join()}]`),
    fc
      .array(fc.tuple(field, tie('json')), { maxLength: 4 })
      .map((pairs) => `{${pairs.map(([key, of]) => `"${key}":${of}`).join()}}`),
    fc.nat(1500).map((levels) => `${'['.repeat(levels)}${']'.repeat(levels)}`),
  ),
}));
const jsonParams = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .array(fc.tuple(field, scalar), { maxLength: 3 })
      .map((pairs) => `{${pairs.map(([key, of]) => `"${key}":${of}`).join()}}`),
  },
  { weight: 1, arbitrary: json },
);
const jsonId = fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 0, max: 3 }).map(String) }, scalar);
/** Usually none: bytes that are not UTF-8, at any place. */
const noise = fc.option(
  fc.tuple(fc.nat(80), fc.constantFrom('c3', 'eda080', 'f4908080', '00', 'efbbbf', 'c0af', '0d', 'ff')),
  { freq: 12, nil: undefined },
);
const jsonLine = fc
  .tuple(
    fc.constantFrom('"2.0"', '"2.0"', '"2.0"', '"2.0"', '"2.0"', '2.0'),
    fc.option(jsonId, { nil: undefined, freq: 6 }),
    method,
    fc.option(jsonParams, { nil: undefined }),
    noise,
    fc.constantFrom('\n', '\n', '\r\n', ' \n', '\n\n'),
  )
  .map(([version, requestId, name, given, put, end]) => {
    const members = [
      `"jsonrpc":${version}`,
      ...(requestId === undefined ? [] : [`"id":${requestId}`]),
      `"method":"${name}"`,
      ...(given === undefined ? [] : [`"params":${given}`]),
    ];
    const line = Buffer.from(`{${members.join()}}${end}`);
    if (put === undefined) return line;
    const at = Math.min(put[0], line.length - 1);
    return Buffer.concat([line.subarray(0, at), Buffer.from(put[1], 'hex'), line.subarray(at)]);
  });
