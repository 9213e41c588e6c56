import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jsonRpc } from '../../src/protocol/json-rpc.ts';
import { BrokenStream, MAX_DEPTH, MessageScanner } from '../../src/protocol/message-scanner.ts';
import { type Codec, MAX_MESSAGE_BYTES } from '../../src/protocol/messages.ts';
import { msgpackRpc } from '../../src/protocol/msgpack-rpc.ts';
import { checkRequest } from '../../src/protocol/request-check.ts';
import { shareOf } from '../fixtures/effort.ts';
import { bytes, concat, everyMessage } from './every-message.ts';

const CODECS = [msgpackRpc, jsonRpc] as const;

function scannerOf(maxBytes = MAX_MESSAGE_BYTES, encoding?: Codec['encoding']): MessageScanner {
  return new MessageScanner(encoding === undefined ? { maxBytes } : { maxBytes, encoding });
}

/** Pushes the chunks one after the other, and takes all there is after each. Frames are copied, as they are views. */
function framesOf(scanner: MessageScanner, chunks: Iterable<Uint8Array>): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (const chunk of chunks) {
    scanner.push(chunk);
    for (let frame = scanner.next(); frame !== undefined; frame = scanner.next()) frames.push(new Uint8Array(frame));
  }
  return frames;
}

function* oneByOne(stream: Uint8Array): Generator<Uint8Array> {
  for (const byte of stream) yield Uint8Array.of(byte);
}

function refusalOf(stream: Uint8Array, scanner = scannerOf()) {
  try {
    framesOf(scanner, [stream]);
  } catch (error) {
    if (error instanceof BrokenStream) return error.refusal;
    throw error;
  }
  return undefined;
}

function text(line: string): Uint8Array {
  return new TextEncoder().encode(line);
}

/** `[0, 1, 'status', [x]]` */
function requestWith(param: string): Uint8Array {
  return bytes(`94 00 01 a6 737461747573 91 ${param}`);
}

describe.each(CODECS)('in $encoding', (codec) => {
  const all = everyMessage(codec);

  test.each(all)('message $# of all is found and read, whole', ({ bytes, message }) => {
    const scanner = scannerOf();
    const [frame, ...more] = framesOf(scanner, [bytes]);
    expect(more).toEqual([]);
    expect(codec.decode(frame ?? bytes)).toEqual(message);
    expect(scanner.encoding).toBe(codec.encoding);
    expect(scanner.pendingBytes).toBe(0);
  });

  test.each(all)('message $# of all is found and read, byte by byte', ({ bytes, message }) => {
    const scanner = scannerOf();
    const frames = framesOf(scanner, oneByOne(bytes));
    expect(frames.map((frame) => codec.decode(frame))).toEqual([message]);
    expect(scanner.pendingBytes).toBe(0);
  });

  test('all messages in one chunk come out in order, and as views of it', () => {
    const stream = concat(all.map(({ bytes }) => bytes));
    const scanner = scannerOf();
    scanner.push(stream);
    const messages = all.map(() => {
      const frame = scanner.next() ?? new Uint8Array();
      expect(frame.buffer).toBe(stream.buffer);
      return codec.decode(frame);
    });
    expect(messages).toEqual(all.map(({ message }) => message));
    expect(scanner.next()).toBeUndefined();
  });

  test('however a stream is cut into chunks, the messages are the same', () => {
    const stream = concat(all.map(({ bytes }) => bytes));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }), (sizes) => {
        const chunks: Uint8Array[] = [];
        for (let at = 0, i = 0; at < stream.length; i += 1) {
          const size = sizes[i % sizes.length] ?? 1;
          chunks.push(stream.slice(at, at + size));
          at += size;
        }
        const messages = framesOf(scannerOf(), chunks).map((frame) => codec.decode(frame));
        expect(messages).toEqual(all.map(({ message }) => message));
      }),
    );
  });

  test('what is held between chunks is a copy of the rest, not the chunk', () => {
    const one = codec.request(1, 'status', {});
    const scanner = scannerOf();
    const chunk = concat([one, one.subarray(0, 5)]);
    framesOf(scanner, [chunk]);
    expect(scanner.pendingBytes).toBe(5);
    chunk.fill(0xff);
    expect(framesOf(scanner, [one.subarray(5)])).toHaveLength(1);
  });

  test('an empty chunk changes nothing', () => {
    const one = codec.request(1, 'status', {});
    const nothing = new Uint8Array();
    const chunks = [nothing, one.subarray(0, 5), nothing, one.subarray(5), nothing];
    expect(framesOf(scannerOf(), chunks)).toHaveLength(1);
  });

  test('4096 bytes are a message, and 4097 are too many, whole and byte by byte', () => {
    const empty = codec.request(1, 'x'.repeat(300), {}).length;
    const exact = codec.request(1, 'x'.repeat(300 + MAX_MESSAGE_BYTES - empty), {});
    const over = codec.request(1, 'x'.repeat(301 + MAX_MESSAGE_BYTES - empty), {});
    expect(exact).toHaveLength(4096);
    expect(over).toHaveLength(4097);
    expect(framesOf(scannerOf(), [exact])).toHaveLength(1);
    expect(framesOf(scannerOf(), oneByOne(exact))).toHaveLength(1);
    expect(refusalOf(over)?.code).toBe('TOO_LARGE');
    expect(() => framesOf(scannerOf(), oneByOne(over))).toThrow(BrokenStream);
  });

  test('messages before the broken one are still handed out, and after it nothing is', () => {
    const good = codec.request(1, 'status', {});
    const scanner = scannerOf();
    scanner.push(concat([good, bytes('c1 0a'), good]));
    expect(scanner.next()).toBeDefined();
    expect(() => scanner.next()).toThrow(BrokenStream);
    expect(() => scanner.next()).toThrow(BrokenStream);
    expect(scanner.end()).toBeUndefined();
  });

  test('a client that knows the encoding and takes more reads a long answer', () => {
    const accounts = Array.from({ length: 3000 }, (_, i) => `USER:${i}`);
    const answer = codec.answer(1, { accounts });
    expect(answer.length).toBeGreaterThan(MAX_MESSAGE_BYTES);
    const scanner = scannerOf(1 << 20, codec.encoding);
    expect(scanner.encoding).toBe(codec.encoding);
    const [frame] = framesOf(scanner, [answer.subarray(0, 5000), answer.subarray(5000)]);
    expect(codec.decode(frame ?? answer)).toEqual({ kind: 'answer', id: 1, result: { accounts } });
  });

  test('mutated messages break the stream or are answered, and nothing else is ever thrown', () => {
    const stream = concat(all.map(({ bytes }) => bytes));
    const mutation = fc.tuple(fc.nat(stream.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 8 }), (mutations) => {
        const mutated = stream.slice();
        for (const [at, byte] of mutations) mutated[at] = byte;
        consume(mutated);
      }),
      { numRuns: shareOf(1_000) },
    );
  });
});

test('arbitrary bytes break the stream or are answered, and nothing else is ever thrown', () => {
  const start = fc.constantFrom([0x93], [0x94], [0x94, 0, 1], [0x93, 2], [0x7b], [0x7b, 0x0a]);
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 200 }), (first, rest) => {
      consume(Uint8Array.of(...first, ...rest));
    }),
    { numRuns: shareOf(3_000) },
  );
});

/** As a session would, fed whole and then byte by byte: both must come to the same. */
function consume(stream: Uint8Array): void {
  let most = 0;
  const outcomes = [[stream], [...oneByOne(stream)]].map((chunks) => {
    const scanner = scannerOf();
    const seen: unknown[] = [];
    try {
      for (const chunk of chunks) {
        scanner.push(chunk);
        for (let frame = scanner.next(); frame !== undefined; frame = scanner.next()) {
          most = Math.max(most, frame.length);
          const codec = scanner.encoding === 'json' ? jsonRpc : msgpackRpc;
          const message = codec.decode(frame);
          seen.push(message);
          if (message.kind === 'request') seen.push(checkRequest(message.method, message.params));
        }
        most = Math.max(most, scanner.pendingBytes);
      }
    } catch (error) {
      if (!(error instanceof BrokenStream)) throw error;
      seen.push(error.refusal);
    }
    return seen;
  });
  expect(outcomes[1]).toEqual(outcomes[0]);
  expect(most).toBeLessThanOrEqual(MAX_MESSAGE_BYTES);
  expect(Object.keys(Object.prototype)).toEqual([]);
}

describe('MessagePack', () => {
  test.each([
    ['a request line of HTTP', text('GET / HTTP/1.1\r\n')],
    ['an array of two', bytes('92 00 01')],
    ['an array of five', bytes('95 00 01 02 03 04')],
    ['an array with a long prefix', bytes('dc 0004 00 01 a1 78 90')],
    ['a map', bytes('81 a1 78 01')],
    ['a byte order mark', bytes('efbbbf 7b7d0a')],
    ['a batch', text('[{"jsonrpc":"2.0","id":1,"method":"status"}]\n')],
  ])('a connection that begins with %s is refused at once', (_what, stream) => {
    expect(refusalOf(stream)).toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('text after a MessagePack message breaks the stream', () => {
    const stream = concat([msgpackRpc.request(1, 'status', {}), text('{"jsonrpc":"2.0","id":1,"method":"status"}\n')]);
    expect(refusalOf(stream)).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringContaining('0x7b') });
  });

  test.each([
    ['fixext 1, a record definition', 'd4 72 40 91 a1 61'],
    ['fixext 1, undefined', 'd4 00 00'],
    ['fixext 2, a record of two bytes', 'd5 72 40 00 91 a1 61'],
    ['fixext 4, a date', 'd6 ff 00000000'],
    ['fixext 8', 'd7 ff 0000000000000000'],
    ['fixext 16', 'd8 01 00000000000000000000000000000000'],
    ['ext 8, a set', 'c7 00 73 90'],
    ['ext 8, an error', 'c7 00 65 92 a5 4572726f72 a1 78'],
    ['ext 16, bundled strings', 'c8 0004 62 00000000'],
    ['ext 32', 'c9 ffffffff 01'],
  ])('extension types are refused: %s', (_what, param) => {
    expect(refusalOf(requestWith(param))).toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining('extension type'),
    });
  });

  test('a record id alone is the small integer that it is', () => {
    const [frame] = framesOf(scannerOf(), [requestWith('40')]);
    expect(msgpackRpc.decode(frame ?? bytes(''))).toMatchObject({ kind: 'request', params: 0x40 });
  });

  test('0xc1 is refused', () => {
    expect(refusalOf(requestWith('c1'))).toMatchObject({ code: 'BAD_REQUEST' });
  });

  test.each([
    ['str 32', 'db'],
    ['bin 32', 'c6'],
    ['array 32', 'dd'],
    ['map 32', 'df'],
  ])('a %s of 2^32 - 1 is refused from its length alone', (_what, head) => {
    expect(refusalOf(requestWith(`${head} ffffffff`))?.code).toBe('TOO_LARGE');
  });

  test.each([
    ['str 16', 'da 0ff3'],
    ['bin 16', 'c5 0ff3'],
    ['array 16', 'dc 0ff3'],
    ['map 16', 'de 07fa'],
  ])(
    'a %s that would end one byte past the limit is refused from its length, and one shorter is waited for',
    (_what, length) => {
      // 11 bytes before it and 3 of its own.
      const shorter = bytes(length);
      shorter[2] = (shorter[2] ?? 0) - 1;
      expect(refusalOf(requestWith(Buffer.from(bytes(length)).toString('hex')))?.code).toBe('TOO_LARGE');
      expect(refusalOf(requestWith(Buffer.from(shorter).toString('hex')))).toBeUndefined();
    },
  );

  test('values that other arrays still owe count towards the limit', () => {
    // Two strings, each of which would fit if the other were not to come.
    expect(refusalOf(requestWith('92 da 0800 '))).toBeUndefined();
    expect(refusalOf(concat([requestWith('92 da 0800'), new Uint8Array(0x800), bytes('da 0800')]))?.code).toBe(
      'TOO_LARGE',
    );
  });

  test('the deepest nesting allowed passes, and one level more is refused, full or empty', () => {
    // The message and its params are two levels.
    const inner = MAX_DEPTH - 2;
    expect(framesOf(scannerOf(), [requestWith(`${'91'.repeat(inner)} c0`)])).toHaveLength(1);
    expect(framesOf(scannerOf(), [requestWith(`${'81a161'.repeat(inner)} c0`)])).toHaveLength(1);
    expect(refusalOf(requestWith(`${'91'.repeat(inner + 1)} c0`))?.code).toBe('BAD_REQUEST');
    expect(refusalOf(requestWith(`${'91'.repeat(inner)} 90`))?.code).toBe('BAD_REQUEST');
    expect(refusalOf(requestWith(`${'91'.repeat(inner)} 80`))?.code).toBe('BAD_REQUEST');
    expect(refusalOf(requestWith('91'.repeat(4000)))?.code).toBe('BAD_REQUEST');
  });

  test('every plain type is passed over by its right length', () => {
    const plain = [
      ...['00', '7f', 'e0', 'ff', 'c0', 'c2', 'c3', 'ca 3fc00000', 'cb 3ff8000000000000', 'cc ff', 'cd ffff'],
      ...['ce ffffffff', 'cf ffffffffffffffff', 'd0 80', 'd1 8000', 'd2 80000000', 'd3 8000000000000000'],
      ...[
        'a0',
        'a2 6162',
        'd9 02 6162',
        'da 0002 6162',
        'db 00000002 6162',
        'c4 01 ff',
        'c5 0001 ff',
        'c6 00000001 ff',
      ],
      ...['90', '91 c0', 'dc 0001 c0', 'dd 00000001 c0', '80', '81 a161 c0', 'de 0001 a161 c0', 'df 00000001 a161 c0'],
      'dc 0000',
      'de 0000',
    ];
    for (const value of plain) {
      const message = requestWith(value);
      const scanner = scannerOf();
      expect(framesOf(scanner, [concat([message, message])]), value).toEqual([message, message]);
      expect(framesOf(scanner, oneByOne(message)), value).toEqual([message]);
      expect(msgpackRpc.decode(message), value).toMatchObject({ kind: 'request' });
    }
  });

  test('a stream refused for its size stays refused', () => {
    const scanner = scannerOf();
    scanner.push(requestWith('dd ffffffff'));
    expect(() => scanner.next()).toThrow(BrokenStream);
    expect(() => scanner.next()).toThrow(BrokenStream);
  });

  test('a message cut short is not handed out at the end of the stream', () => {
    const scanner = scannerOf();
    framesOf(scanner, [msgpackRpc.request(1, 'status', {}).subarray(0, -1)]);
    expect(scanner.pendingBytes).toBeGreaterThan(0);
    expect(scanner.end()).toBeUndefined();
  });
});

describe('JSON', () => {
  function linesOf(...chunks: string[]): string[] {
    return framesOf(scannerOf(), chunks.map(text)).map((frame) => new TextDecoder().decode(frame));
  }

  test('lines end in \\n or \\r\\n, also cut between the two, and blank ones are skipped', () => {
    expect(linesOf('{1\n{2\r\n\n\r\n  \t\n{3\r', '\n{4\n')).toEqual(['{1', '{2', '{3', '{4']);
  });

  test('a line that does not begin with a brace is a frame, and the codec answers it', () => {
    expect(linesOf('{}\n[{}]\nstatus\n')).toEqual(['{}', '[{}]', 'status']);
  });

  test('MessagePack after a line breaks the stream before it is whole', () => {
    expect(refusalOf(concat([text('{}\n'), bytes('94 00')]))).toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('a line without an end is refused as soon as it cannot end within the limit', () => {
    const scanner = scannerOf();
    expect(framesOf(scanner, [text(`{${'x'.repeat(4094)}`)])).toEqual([]);
    expect(scanner.pendingBytes).toBe(4095);
    expect(refusalOf(text('x'), scanner)?.code).toBe('TOO_LARGE');
  });

  test('a limit that is passed by a long chunk of many lines is none', () => {
    expect(linesOf('{"a":1}\n'.repeat(2000))).toHaveLength(2000);
  });

  test('the last line needs no line end', () => {
    for (const last of ['{"a":1}', '{"a":1}\r']) {
      const scanner = scannerOf();
      expect(framesOf(scanner, [text(`{}\n${last}`)])).toHaveLength(1);
      expect(scanner.end()).toEqual(text('{"a":1}'));
      expect(scanner.end()).toBeUndefined();
      expect(scanner.pendingBytes).toBe(0);
    }
  });

  test('nothing, or blanks, at the end of the stream is not a line', () => {
    for (const rest of ['', ' ', '\r']) {
      const scanner = scannerOf();
      framesOf(scanner, [text(`{}\n${rest}`)]);
      expect(scanner.end()).toBeUndefined();
    }
    expect(scannerOf().end()).toBeUndefined();
  });
});
