import { Packr } from 'msgpackr/pack';
import { refusal } from '../errors.ts';
import type { Codec, Message } from './messages.ts';
import { quote } from './quote.ts';
import { errorFromWire, errorToWire } from './wire-error.ts';

const REQUEST = 0;
const ANSWER = 1;
const NOTIFICATION = 2;

/** The id of an answer if the request's own could not be read. Clients count from 1. */
const NO_ID = 0;

const options = {
  // Maps, which every language knows, and not msgpackr's own records.
  useRecords: false,
  variableMapSize: true,
  mapsAsObjects: true,
  int64AsType: 'bigint' as const,
  // Left out, as in JSON: msgpackr would write an extension type, which the scanner of the other side refuses.
  skipValues: [undefined],
};
const packr = new Packr(options);

/**
 * MessagePack-RPC. 64-bit integers are bigint on this side, in both directions and whatever their size, so that the
 * type of a nonce never depends on its value. Other numbers stay numbers: a whole one over 2^32 is written as a double,
 * which is exact up to 2^53.
 *
 * Encoding throws RangeError for a bigint that does not fit into 64 bits.
 */
export const msgpackRpc: Codec = {
  encoding: 'msgpack',

  decode(frame) {
    let message: unknown;
    try {
      message = packr.unpack(frame);
    } catch {
      // Whole values that cannot become objects: a list as a key, for one.
      return malformed(undefined, 'a message cannot be unpacked; send maps with strings as keys');
    }
    if (!Array.isArray(message)) return malformed(undefined, 'a message is not an array; send [0, id, method, params]');
    switch (message[0]) {
      case REQUEST:
        return requestFrom(message);
      case ANSWER:
        return answerFrom(message);
      case NOTIFICATION:
        return notificationFrom(message);
      default:
        return malformed(undefined, `the type of a message is ${quote(message[0])}; send 0, 1 or 2`);
    }
  },

  request(id, method, params) {
    return packr.pack([REQUEST, id, method, [params]]);
  },

  notification(method, params) {
    return packr.pack([NOTIFICATION, method, [params]]);
  },

  answer(id, result) {
    return packr.pack([ANSWER, id, null, result]);
  },

  refusal(id, refusal) {
    return packr.pack([ANSWER, id ?? NO_ID, errorToWire(refusal), null]);
  },
};

function requestFrom(message: readonly unknown[]): Message {
  const [, id, method, params] = message;
  if (!isId(id)) return malformed(undefined, `the id is ${quote(id)}; send a 32-bit unsigned integer`);
  if (typeof method !== 'string') return malformed(id, `the method is ${quote(method)}; send its name`);
  if (!Array.isArray(params)) return malformed(id, `params is ${quote(params)}; send [] or [map]`);
  return { kind: 'request', id, method, params: unwrap(params) };
}

function notificationFrom(message: readonly unknown[]): Message {
  const [, method, params] = message;
  if (message.length !== 3) return malformed(undefined, 'a notification has three elements; send [2, method, params]');
  if (typeof method !== 'string') return malformed(undefined, `the method is ${quote(method)}; send its name`);
  if (!Array.isArray(params)) return malformed(undefined, `params is ${quote(params)}; send [] or [map]`);
  return { kind: 'notification', method, params: unwrap(params) };
}

function answerFrom(message: readonly unknown[]): Message {
  const [, id, error, result] = message;
  if (!isId(id)) return malformed(undefined, `the id is ${quote(id)}; send a 32-bit unsigned integer`);
  if (message.length !== 4) return malformed(id, 'an answer has four elements; send [1, id, error, result]');
  if (error === null) return { kind: 'answer', id, result };
  return { kind: 'error', id, error: errorFromWire(error) };
}

/** Takes `[]` and `[map]`. Anything else stays as it is, and the check of the request refuses it. */
function unwrap(params: readonly unknown[]): unknown {
  if (params.length === 0) return undefined;
  return params.length === 1 ? params[0] : params;
}

function isId(id: unknown): id is number {
  return typeof id === 'number' && id >>> 0 === id;
}

function malformed(id: number | undefined, message: string): Message {
  return { kind: 'malformed', id, refusal: refusal('BAD_REQUEST', message) };
}
