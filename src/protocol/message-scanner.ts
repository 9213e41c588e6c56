import { type ErrorCode, type Refusal, refusal } from '../errors.ts';
import type { Codec } from './messages.ts';

/** How deep arrays and maps may be nested, with the message's own array. */
export const MAX_DEPTH = 8;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BRACE = 0x7b;
const NOTHING = new Uint8Array(0);

/** Thrown for bytes that are not messages, or too many. The connection may send the refusal, and must be closed. */
export class BrokenStream extends Error {
  override readonly name = 'BrokenStream';
  readonly refusal: Refusal;

  constructor(code: Extract<ErrorCode, 'BAD_REQUEST' | 'TOO_LARGE'>, message: string) {
    super(message);
    this.refusal = refusal(code, message);
  }
}

/**
 * Cuts a connection's bytes into messages. A frame is a view of the chunk it came in, and valid for as long as that
 * chunk is; only a message that is split over chunks is copied. If every frame is taken before the next `push`, it
 * never holds more than `maxBytes` and one chunk.
 *
 * A MessagePack frame holds exactly one array of three or four plain values (no extension types), at most MAX_DEPTH
 * deep: it is safe to unpack. A JSON frame is a line without its end; whether it is JSON is for the codec to say.
 */
export class MessageScanner {
  readonly #maxBytes: number;
  readonly #boundary: MsgpackBoundary;
  #encoding: Codec['encoding'] | undefined;
  #bytes: Uint8Array = NOTHING;
  /** Where the next message begins in `#bytes`. */
  #start = 0;
  /** How far from there a line end was looked for. */
  #searched = 0;
  #broken: BrokenStream | undefined;

  /** `maxBytes` includes a line's end. Without `encoding` the first byte decides it. */
  constructor(options: { readonly maxBytes: number; readonly encoding?: Codec['encoding'] }) {
    this.#maxBytes = options.maxBytes;
    this.#encoding = options.encoding;
    this.#boundary = new MsgpackBoundary(options.maxBytes);
  }

  /** Undefined until `next` has seen the first byte. */
  get encoding(): Codec['encoding'] | undefined {
    return this.#encoding;
  }

  /** How many bytes came in and were not returned yet. */
  get pendingBytes(): number {
    return this.#bytes.length - this.#start;
  }

  push(chunk: Uint8Array): void {
    if (this.pendingBytes === 0) {
      this.#bytes = chunk;
      this.#start = 0;
      return;
    }
    const joined = new Uint8Array(this.pendingBytes + chunk.length);
    joined.set(this.#bytes.subarray(this.#start));
    joined.set(chunk, this.pendingBytes);
    this.#bytes = joined;
    this.#start = 0;
  }

  /**
   * Returns the next whole message, or undefined until more bytes come. Throws BrokenStream, and from then on always.
   */
  next(): Uint8Array | undefined {
    if (this.#broken !== undefined) throw this.#broken;
    try {
      const first = this.#bytes[this.#start];
      if (first === undefined) {
        this.#bytes = NOTHING;
        this.#start = 0;
        return undefined;
      }
      this.#encoding ??= encodingOf(first);
      return this.#encoding === 'msgpack' ? this.#nextMessage() : this.#nextLine();
    } catch (error) {
      if (error instanceof BrokenStream) this.#broken = error;
      throw error;
    }
  }

  /** Must be called when the stream has ended and `next` returned undefined: a last line of JSON may lack its end. */
  end(): Uint8Array | undefined {
    const rest = this.#bytes.subarray(this.#start);
    this.#bytes = NOTHING;
    this.#start = 0;
    if (this.#encoding !== 'json' || this.#broken !== undefined || isBlank(rest)) return undefined;
    return rest.at(-1) === CARRIAGE_RETURN ? rest.subarray(0, -1) : rest;
  }

  #nextMessage(): Uint8Array | undefined {
    const length = this.#boundary.length(this.#bytes, this.#start);
    if (length === 0) return this.#incomplete();
    this.#boundary.reset();
    const frame = this.#bytes.subarray(this.#start, this.#start + length);
    this.#start += length;
    return frame;
  }

  #nextLine(): Uint8Array | undefined {
    while (this.pendingBytes > 0) {
      const first = this.#bytes[this.#start] ?? 0;
      if (first >= 0x80) {
        throw new BrokenStream('BAD_REQUEST', 'binary bytes on a connection that began with JSON; use one of the two');
      }
      const lineFeed = this.#bytes.indexOf(LINE_FEED, this.#start + this.#searched);
      // Without a line end, at least one more byte must come.
      const length = lineFeed === -1 ? this.pendingBytes + 1 : lineFeed + 1 - this.#start;
      if (length > this.#maxBytes) throw tooLarge(this.#maxBytes);
      if (lineFeed === -1) {
        this.#searched = this.pendingBytes;
        return this.#incomplete();
      }
      const end = this.#bytes[lineFeed - 1] === CARRIAGE_RETURN ? lineFeed - 1 : lineFeed;
      const line = this.#bytes.subarray(this.#start, end);
      this.#start = lineFeed + 1;
      this.#searched = 0;
      if (!isBlank(line)) return line;
    }
    return undefined;
  }

  #incomplete(): undefined {
    if (this.#start > 0) {
      // A copy, so that a few bytes do not keep a whole chunk in memory.
      this.#bytes = new Uint8Array(this.#bytes.subarray(this.#start));
      this.#start = 0;
    }
    return undefined;
  }
}

/** Finds where a MessagePack message ends, without recursion. Bytes that come one by one are each looked at once. */
class MsgpackBoundary {
  readonly #maxBytes: number;
  /** Where the next value begins, counted from the message's first byte. It may be beyond the bytes that are here. */
  #at = 0;
  /** How many values are still to come. Each takes at least a byte, so a length prefix shows if it is too large. */
  #owed = 1;
  #depth = 0;
  /** How many values are left in each open array or map, by depth. */
  readonly #left = new Uint32Array(MAX_DEPTH + 1);

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  reset(): void {
    this.#at = 0;
    this.#owed = 1;
    this.#depth = 0;
  }

  /** Returns the length of the message that begins at `start`, or 0 while its end is not here. */
  length(bytes: Uint8Array, start: number): number {
    while (this.#owed > 0) {
      const position = start + this.#at;
      // Checked first, because reading past the end of an array is slow.
      if (position >= bytes.length) return 0;
      const head = bytes[position] as number;
      if (this.#at === 0 && head !== 0x93 && head !== 0x94) {
        throw broken(`a message begins with ${hex(head)}; send MessagePack arrays of three or four only`);
      }
      let size = 1;
      let children = -1;
      if (head < 0x80 || head >= 0xe0) {
        // An integer that is its own head.
      } else if (head < 0x90) {
        children = (head & 0x0f) * 2;
      } else if (head < 0xa0) {
        children = head & 0x0f;
      } else if (head < 0xc0) {
        size += head & 0x1f;
      } else {
        const layout = LAYOUTS[head - 0xc0];
        if (layout === undefined) throw refusedHead(head);
        size = layout.size;
        if (layout.lengthBytes > 0) {
          if (position + size > bytes.length) return 0;
          const length = bigEndian(bytes, position + 1, layout.lengthBytes);
          if (layout.children === 0) size += length;
          else children = length * layout.children;
        }
      }
      this.#at += size;
      this.#owed += Math.max(children, 0) - 1;
      if (this.#at + this.#owed > this.#maxBytes) throw tooLarge(this.#maxBytes);
      if (children >= 0 && this.#depth === MAX_DEPTH) {
        throw broken(`a message nests deeper than ${MAX_DEPTH} levels; send flat parameters`);
      }
      if (children > 0) {
        this.#depth += 1;
        this.#left[this.#depth] = children;
      } else {
        this.#close();
      }
    }
    return start + this.#at <= bytes.length ? this.#at : 0;
  }

  /** Ends a value, and every array or map that it was the last value of. */
  #close(): void {
    while (this.#depth > 0) {
      const left = (this.#left[this.#depth] ?? 0) - 1;
      this.#left[this.#depth] = left;
      if (left > 0) return;
      this.#depth -= 1;
    }
  }
}

interface Layout {
  /** The size of the head and length prefix, or of the whole value if there is no prefix. */
  readonly size: number;
  readonly lengthBytes: number;
  /** How many values there are for each one that the length counts; 0 if it counts bytes. */
  readonly children: 0 | 1 | 2;
}

/** The layouts of 0xc0 to 0xdf; undefined for the byte that is never used and for the extension types. */
const LAYOUTS: readonly (Layout | undefined)[] = [
  fixed(1), // nil
  undefined,
  fixed(1), // false
  fixed(1), // true
  ...[1, 2, 4].map((width) => counted(width, 0)), // bin
  ...[1, 2, 4].map(() => undefined), // ext
  ...[4, 8].map((width) => fixed(1 + width)), // float
  ...[1, 2, 4, 8].map((width) => fixed(1 + width)), // uint
  ...[1, 2, 4, 8].map((width) => fixed(1 + width)), // int
  ...[1, 2, 4, 8, 16].map(() => undefined), // fixext
  ...[1, 2, 4].map((width) => counted(width, 0)), // str
  ...[2, 4].map((width) => counted(width, 1)), // array
  ...[2, 4].map((width) => counted(width, 2)), // map
];

function fixed(size: number): Layout {
  return { size, lengthBytes: 0, children: 0 };
}

function counted(lengthBytes: number, children: Layout['children']): Layout {
  return { size: 1 + lengthBytes, lengthBytes, children };
}

function bigEndian(bytes: Uint8Array, position: number, width: number): number {
  let value = 0;
  // Not by shifts, which would make a length over 2^31 negative.
  for (let i = 0; i < width; i += 1) value = value * 256 + (bytes[position + i] ?? 0);
  return value;
}

function encodingOf(first: number): Codec['encoding'] {
  if (first === 0x93 || first === 0x94) return 'msgpack';
  if (first === BRACE) return 'json';
  throw broken(`the first byte is ${hex(first)}; begin with a MessagePack-RPC array or a JSON-RPC object`);
}

function isBlank(line: Uint8Array): boolean {
  return line.every((byte) => byte === 0x20 || byte === 0x09 || byte === CARRIAGE_RETURN);
}

function broken(message: string): BrokenStream {
  return new BrokenStream('BAD_REQUEST', message);
}

function refusedHead(head: number): BrokenStream {
  if (head === 0xc1) return broken('0xc1 is not MessagePack; check what encodes the messages');
  return broken(`${hex(head)} begins an extension type; send nil, booleans, numbers, strings, arrays and maps only`);
}

function tooLarge(maxBytes: number): BrokenStream {
  return new BrokenStream('TOO_LARGE', `a message is over ${maxBytes} bytes; send shorter ones`);
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`;
}
