import type { Refusal } from '../errors.ts';
import { type Codec, isRequestId, MAX_ID_BYTES, type Message, type RequestId } from './messages.ts';
import { quote } from './quote.ts';
import { errorFromWire, errorToWire } from './wire-error.ts';

const PARSE_ERROR = -32700;
const INVALID_REQUEST = -32600;
const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;
const OURS = -32000;

/** Stands for the null that is the id of an error if the request's own could not be read, as in MessagePack-RPC. */
const NO_ID = 0;

const CALL_KEYS: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'method', 'params']);
const ANSWER_KEYS: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'result', 'error']);

/** Throws for bytes that are not UTF-8. It keeps a byte order mark, which is not JSON. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The refusal of a message whose envelope is wrong. It carries JSON-RPC's own number for that. */
class EnvelopeRefusal implements Refusal {
  readonly code = 'BAD_REQUEST';
  readonly message: string;
  readonly rpcCode: number;

  constructor(rpcCode: number, message: string) {
    this.rpcCode = rpcCode;
    this.message = message;
  }
}

/** JSON-RPC 2.0, one message a line. A bigint is written as a decimal string, and read as a string. */
export const jsonRpc: Codec = {
  encoding: 'json',

  decode(frame) {
    let message: unknown;
    try {
      message = JSON.parse(utf8.decode(frame));
    } catch {
      return malformed(undefined, 'a line is not JSON; send one whole object a line, in UTF-8', PARSE_ERROR);
    }
    if (typeof message !== 'object' || message === null || Array.isArray(message)) {
      return malformed(undefined, `a line holds ${quote(message)}; send one object a line, not a batch`);
    }
    return messageFrom(message as Envelope);
  },

  request(id, method, params) {
    return line({ jsonrpc: '2.0', id, method, params });
  },

  notification(method, params) {
    return line({ jsonrpc: '2.0', method, params });
  },

  answer(id, result) {
    return line({ jsonrpc: '2.0', id, result });
  },

  refusal(id, refusal) {
    const error = { code: rpcCode(refusal), message: refusal.message, data: errorToWire(refusal) };
    return line({ jsonrpc: '2.0', id: id ?? null, error });
  },
};

interface Envelope {
  readonly jsonrpc?: unknown;
  readonly id?: unknown;
  readonly method?: unknown;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
}

function messageFrom(message: Envelope): Message {
  const isCall = message.method !== undefined || !(message.result !== undefined || message.error !== undefined);
  const id = isRequestId(message.id) ? message.id : undefined;
  for (const key in message) {
    if (!(isCall ? CALL_KEYS : ANSWER_KEYS).has(key)) {
      return malformed(id, `unknown key ${quote(key)} beside jsonrpc, id, method, params; leave it out`);
    }
  }
  if (message.jsonrpc !== '2.0') return malformed(id, `jsonrpc is ${quote(message.jsonrpc)}; send '2.0'`);
  return isCall ? callFrom(message, id) : answerFrom(message, id);
}

function callFrom(message: Envelope, id: RequestId | undefined): Message {
  const { method, params } = message;
  if (message.id !== undefined && id === undefined) return malformedId(message.id);
  if (typeof method !== 'string') return malformed(id, `the method is ${quote(method)}; send its name`);
  if (params !== undefined && (typeof params !== 'object' || params === null)) {
    return malformed(id, `params is ${quote(params)}; send an object, or leave it out`);
  }
  return id === undefined
    ? { kind: 'notification', method, params: unwrap(params) }
    : { kind: 'request', id, method, params: unwrap(params) };
}

function answerFrom(message: Envelope, id: RequestId | undefined): Message {
  const { result, error } = message;
  if (result !== undefined && error !== undefined)
    return malformed(id, 'an answer has both a result and an error; send one of them');
  if (error !== undefined && message.id === null) return { kind: 'error', id: NO_ID, error: rpcErrorFrom(error) };
  if (id === undefined) return malformedId(message.id);
  return error === undefined ? { kind: 'answer', id, result } : { kind: 'error', id, error: rpcErrorFrom(error) };
}

function rpcErrorFrom(error: unknown) {
  const { code, message, data } = (error ?? {}) as { code?: unknown; message?: unknown; data?: unknown };
  if (typeof data === 'object' && data !== null) return errorFromWire(data);
  return errorFromWire({ code: code === METHOD_NOT_FOUND ? 'UNKNOWN_METHOD' : 'BAD_REQUEST', message });
}

/**
 * Takes `[]` and `[object]` from clients that know only positional params. The check of the request refuses other
 * lists.
 */
function unwrap(params: unknown): unknown {
  if (!Array.isArray(params)) return params;
  if (params.length === 0) return undefined;
  return params.length === 1 ? params[0] : params;
}

function malformedId(id: unknown): Message {
  return malformed(undefined, `the id is ${quote(id)}; send an integer or a string of up to ${MAX_ID_BYTES} bytes`);
}

function malformed(id: RequestId | undefined, message: string, code = INVALID_REQUEST): Message {
  return { kind: 'malformed', id, refusal: new EnvelopeRefusal(code, message) };
}

function rpcCode(refusal: Refusal): number {
  if (refusal instanceof EnvelopeRefusal) return refusal.rpcCode;
  if (refusal.code === 'UNKNOWN_METHOD') return METHOD_NOT_FOUND;
  return refusal.code === 'BAD_REQUEST' ? INVALID_PARAMS : OURS;
}

function line(message: object): Uint8Array {
  return Buffer.from(`${JSON.stringify(message, decimal)}\n`);
}

function decimal(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
