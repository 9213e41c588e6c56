/** A message on the wire, as the checker reads it: by its own code, written only from the specifications. */
export type WireMessage =
  | { readonly kind: 'request'; readonly id: unknown; readonly method: unknown; readonly params: Fields }
  | { readonly kind: 'notification'; readonly method: unknown; readonly params: Fields }
  | { readonly kind: 'answer'; readonly id: unknown; readonly result: Fields }
  | { readonly kind: 'refusal'; readonly id: unknown; readonly code: string };

export type Fields = Readonly<Record<string, unknown>>;

class Incomplete extends Error {}

/** Cuts one direction of a connection into messages. After bytes that make no sense it reads nothing more. */
export class WireReader {
  #bytes: Buffer = Buffer.alloc(0);
  #isBroken = false;

  push(chunk: Uint8Array): WireMessage[] {
    if (this.#isBroken) return [];
    this.#bytes = this.#bytes.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#bytes, chunk]);
    const messages: WireMessage[] = [];
    try {
      while (this.#bytes.length > 0) {
        const message = this.#bytes[0] === 0x7b ? this.#json() : this.#messagePack();
        if (message !== undefined) messages.push(message);
      }
    } catch (error) {
      if (!(error instanceof Incomplete)) this.#isBroken = true;
    }
    return messages;
  }

  #json(): WireMessage | undefined {
    const end = this.#bytes.indexOf(0x0a);
    if (end < 0) throw new Incomplete();
    const raw = JSON.parse(this.#bytes.toString('utf8', 0, end)) as Fields;
    this.#bytes = this.#bytes.subarray(end + 1);
    const { id, method, params, result, error } = raw as Readonly<Record<string, unknown>>;
    if (method !== undefined) {
      return id === undefined
        ? { kind: 'notification', method, params: fields(params) }
        : { kind: 'request', id, method, params: fields(params) };
    }
    if (error === undefined) return { kind: 'answer', id, result: fields(result) };
    return { kind: 'refusal', id, code: String(fields(fields(error)['data'])['code']) };
  }

  #messagePack(): WireMessage | undefined {
    const scan = new MessagePackScan(this.#bytes);
    const message = scan.value();
    this.#bytes = this.#bytes.subarray(scan.at);
    if (!Array.isArray(message)) throw new Error('not a message');
    const [type, second, third, fourth] = message as unknown[];
    const only = (params: unknown): Fields => fields(Array.isArray(params) ? params[0] : undefined);
    if (type === 0) return { kind: 'request', id: second, method: third, params: only(fourth) };
    if (type === 2) return { kind: 'notification', method: second, params: only(third) };
    if (type !== 1) throw new Error('not a message');
    if (third === null) return { kind: 'answer', id: second, result: fields(fourth) };
    return { kind: 'refusal', id: second, code: String(fields(third)['code']) };
  }
}

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** Reads MessagePack without extension types. Whole numbers of 64 bits become bigint. */
class MessagePackScan {
  at = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  value(): unknown {
    const type = this.#byte();
    if (type <= 0x7f) return type;
    if (type <= 0x8f) return this.#map(type & 0x0f);
    if (type <= 0x9f) return this.#array(type & 0x0f);
    if (type <= 0xbf) return this.#text(type & 0x1f);
    if (type >= 0xe0) return type - 256;
    const bytes = this.#bytes;
    switch (type) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xca:
        return bytes.readFloatBE(this.#take(4));
      case 0xcb:
        return bytes.readDoubleBE(this.#take(8));
      case 0xcc:
        return this.#byte();
      case 0xcd:
        return bytes.readUInt16BE(this.#take(2));
      case 0xce:
        return bytes.readUInt32BE(this.#take(4));
      case 0xcf:
        return bytes.readBigUInt64BE(this.#take(8));
      case 0xd0:
        return bytes.readInt8(this.#take(1));
      case 0xd1:
        return bytes.readInt16BE(this.#take(2));
      case 0xd2:
        return bytes.readInt32BE(this.#take(4));
      case 0xd3:
        return bytes.readBigInt64BE(this.#take(8));
      case 0xd9:
        return this.#text(this.#byte());
      case 0xda:
        return this.#text(bytes.readUInt16BE(this.#take(2)));
      case 0xdc:
        return this.#array(bytes.readUInt16BE(this.#take(2)));
      case 0xde:
        return this.#map(bytes.readUInt16BE(this.#take(2)));
      default:
        throw new Error(`type ${type} is not used here`);
    }
  }

  #map(length: number): Fields {
    const map: Record<string, unknown> = {};
    for (let index = 0; index < length; index++) map[String(this.value())] = this.value();
    return map;
  }

  #array(length: number): unknown[] {
    return Array.from({ length }, () => this.value());
  }

  #text(length: number): string {
    const from = this.#take(length);
    return this.#bytes.toString('utf8', from, from + length);
  }

  #byte(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  #take(length: number): number {
    const from = this.at;
    if (from + length > this.#bytes.length) throw new Incomplete();
    this.at += length;
    return from;
  }
}
