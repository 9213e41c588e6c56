import { type Refusal, refusal } from '../errors.ts';
import {
  ACCOUNT_FORM,
  ACCOUNT_PATTERN,
  DEFAULT_ACCOUNT,
  DEFAULT_PRIORITY,
  EXCLUSION_POLICIES,
  MAX_COUNT,
  MAX_TEXT_BYTES,
  MAX_TTL_MS,
  MAX_WAIT_MS,
  MAX_WITHIN,
  NAME_FORM,
  NAME_PATTERN,
  OUTCOMES,
  PRIORITIES,
  UNITS,
} from '../terms.ts';
import { type AcquireRequest, isRequestId, MAX_ID_BYTES, MAX_PAGE, type Request, type RequestId } from './messages.ts';
import { quote, UNPRINTABLE } from './quote.ts';

const DEFAULT_PAGE = 100;
const DEFAULT_MAX_LEAD_MS = 3_600_000;
const MAX_COST = 1_000_000;
const MAX_PID = 2 ** 31 - 1;
const MAX_UINT64 = 2n ** 64n - 1n;

/**
 * A kind of value. `read` returns undefined for a value that is not as `expected`, which follows `give` in a message.
 */
interface Kind<T> {
  readonly read: (value: unknown) => T | undefined;
  readonly expected: string;
  /** The value is never quoted: by mistake this field may hold a key or a client's session. */
  readonly secret?: true;
}

interface Field<T> extends Kind<T> {
  readonly required: boolean;
  readonly fallback: T | undefined;
}

interface Method {
  readonly fields: readonly (readonly [name: string, field: Field<unknown>])[];
  readonly names: ReadonlySet<string>;
  /** Checks what takes more than one field. */
  readonly finish?: (read: never) => Request | Refusal;
}

/** The fields of a request, from its type. */
type FieldsOf<M extends Request['method']> = Omit<Extract<Request, { method: M }>, 'method'>;

interface AdvanceFields {
  readonly sequence: string | undefined;
  readonly account: string | undefined;
  readonly to: bigint | 'now' | undefined;
  readonly by: bigint | undefined;
  readonly maxLeadMs: number;
}

const ACCOUNT = pattern(ACCOUNT_PATTERN, ACCOUNT_FORM);
const SEQUENCE = pattern(NAME_PATTERN, NAME_FORM);
const FINGERPRINT = secret(/^[0-9a-f]{16}$/, '16 lower-case hex digits, the first of the SHA-256 of the public key');
const SESSION = secret(/^[0-9a-f]{32}$/, '32 lower-case hex digits, made at random by each client');
const INSTANCE = pattern(/^[0-9a-f]{32}$/, 'the instance that the client knew, 32 lower-case hex digits');
const COUNT = wholeNumber(1, MAX_COUNT);
const TTL = wholeNumber(1, MAX_TTL_MS);
const COST = number(0, MAX_COST);
const TEXT: Kind<string> = { read: readText, expected: `1 to ${MAX_TEXT_BYTES} bytes of printable text` };
const FLAG: Kind<boolean> = {
  read: (value) => (typeof value === 'boolean' ? value : undefined),
  expected: 'true or false',
};
const REQUEST_ID: Kind<RequestId> = {
  read: (value) => (isRequestId(value) ? value : undefined),
  expected: `the id of an acquire that waits: an integer, or a string of up to ${MAX_ID_BYTES} bytes`,
};
const TOKEN: Kind<number> = {
  read(value) {
    const token = readUint64(value, 1n);
    return token !== undefined && token <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(token) : undefined;
  },
  expected: 'the token of a grant, as an integer or a decimal string',
};
const TOKENS: Kind<readonly number[]> = {
  read(value) {
    if (!Array.isArray(value) || value.length > MAX_WITHIN) return undefined;
    const tokens = value.map((token) => TOKEN.read(token));
    return tokens.every((token) => token !== undefined) ? tokens : undefined;
  },
  expected: `a list of up to ${MAX_WITHIN} tokens`,
};
const NONCE_OR_NOW: Kind<bigint | 'now'> = {
  read: (value) => (value === 'now' ? value : readUint64(value, 0n)),
  expected: `'now', or a whole number below 2^64, as a decimal string if it is over 2^53`,
};
const NONCES: Kind<bigint> = {
  read: (value) => readUint64(value, 1n),
  expected: 'a whole number from 1 to 2^64 - 1, as a decimal string if it is over 2^53',
};

const TABLE: { readonly [M in Request['method']]: Method } = {
  hello: method<FieldsOf<'hello'>>({
    name: optional(TEXT),
    pid: optional(wholeNumber(1, MAX_PID)),
    session: optional(SESSION),
  }),
  nonce: method<FieldsOf<'nonce'>>({
    account: withDefault(ACCOUNT, DEFAULT_ACCOUNT),
    count: withDefault(COUNT, 1),
  }),
  acquire: method<Omit<AcquireRequest, 'method' | 'account'> & { readonly account: string | undefined }>(
    {
      account: optional(ACCOUNT),
      key: optional(FINGERPRINT),
      unit: optional(oneOf(UNITS)),
      priority: withDefault(oneOf(PRIORITIES), DEFAULT_PRIORITY),
      cost: withDefault(COST, 1),
      ttlMs: optional(TTL),
      waitMs: optional(wholeNumber(0, MAX_WAIT_MS)),
      label: optional(TEXT),
      count: withDefault(COUNT, 1),
      within: withDefault(TOKENS, []),
    },
    (read) => {
      const account = read.account ?? (read.key === undefined ? DEFAULT_ACCOUNT : `key:${read.key}`);
      return { ...read, method: 'acquire', account };
    },
  ),
  next: method<FieldsOf<'next'>>({
    token: required(TOKEN),
    account: optional(ACCOUNT),
    key: optional(FINGERPRINT),
    unit: optional(oneOf(UNITS)),
    cost: withDefault(COST, 1),
    count: withDefault(COUNT, 1),
  }),
  renew: method<FieldsOf<'renew'>>({ token: required(TOKEN), ttlMs: optional(TTL) }),
  release: method<FieldsOf<'release'>>({
    token: required(TOKEN),
    outcome: withDefault(oneOf(OUTCOMES), 'unknown'),
    usedOwnClock: withDefault(FLAG, false),
  }),
  report: method<FieldsOf<'report'>>({
    token: required(TOKEN),
    nonce: required(NONCES),
    outcome: required(oneOf(OUTCOMES)),
  }),
  cancel: method<FieldsOf<'cancel'>>({ id: required(REQUEST_ID) }),
  refuse: method<FieldsOf<'refuse'>>({ expected: required(INSTANCE) }),
  policy: method<FieldsOf<'policy'>>({}),
  status: method<FieldsOf<'status'>>({}),
  why: method<FieldsOf<'why'>>({ account: withDefault(ACCOUNT, DEFAULT_ACCOUNT) }),
  metrics: method<FieldsOf<'metrics'>>({}),
  calls: method<FieldsOf<'calls'>>({
    after: optional(wholeNumber(0, Number.MAX_SAFE_INTEGER)),
    limit: withDefault(wholeNumber(1, MAX_PAGE), DEFAULT_PAGE),
    account: optional(ACCOUNT),
  }),
  events: method<FieldsOf<'events'>>({
    after: optional(wholeNumber(0, Number.MAX_SAFE_INTEGER)),
    limit: withDefault(wholeNumber(1, MAX_PAGE), DEFAULT_PAGE),
  }),
  refusals: method<FieldsOf<'refusals'>>({
    after: optional(wholeNumber(0, Number.MAX_SAFE_INTEGER)),
    limit: withDefault(wholeNumber(1, MAX_PAGE), DEFAULT_PAGE),
  }),
  pause: method<FieldsOf<'pause'>>({ account: required(ACCOUNT) }),
  'resume-account': method<FieldsOf<'resume-account'>>({ account: required(ACCOUNT) }),
  advance: method<AdvanceFields>(
    {
      sequence: optional(SEQUENCE),
      account: optional(ACCOUNT),
      to: optional(NONCE_OR_NOW),
      by: optional(NONCES),
      maxLeadMs: withDefault(wholeNumber(0, Number.MAX_SAFE_INTEGER), DEFAULT_MAX_LEAD_MS),
    },
    ({ sequence, account, to, by, maxLeadMs }) => {
      if (sequence !== undefined && account !== undefined) {
        return badRequest('both sequence and account are given; give one of them');
      }
      if (to !== undefined && by !== undefined) return badRequest('both to and by are given; give one of them');
      if (by !== undefined)
        return { method: 'advance', sequence, account, target: { kind: 'by', nonces: by }, maxLeadMs };
      if (to === undefined) return badRequest('neither to nor by is given; give one of them');
      const target = to === 'now' ? ({ kind: 'now' } as const) : ({ kind: 'to', nonce: to } as const);
      return { method: 'advance', sequence, account, target, maxLeadMs };
    },
  ),
  'set-exclusive': method<FieldsOf<'set-exclusive'>>({ policy: required(oneOf(EXCLUSION_POLICIES)) }),
  drain: method<FieldsOf<'drain'>>({ draining: withDefault(FLAG, true) }),
};

/** A map and not the table itself: the other side may call a method `constructor`. */
const METHODS: ReadonlyMap<string, Method> = new Map(Object.entries(TABLE));

const NO_PARAMS: Readonly<Record<string, unknown>> = Object.freeze({});

/**
 * Checks a request from outside and fills in what it leaves out. A refusal says the fact, then the fix, and quotes at
 * most 40 characters of what came in.
 */
export function checkRequest(name: string, params: unknown = NO_PARAMS): Request | Refusal {
  const method = METHODS.get(name);
  if (method === undefined) {
    return refusal('UNKNOWN_METHOD', `there is no method ${quote(name)}; use one of ${[...METHODS.keys()].join(', ')}`);
  }
  if (!isMap(params)) return badRequest(`params is ${quote(params)}; give one map of named fields`);
  for (const field in params) {
    if (!method.names.has(field)) return unknownField(name, method, field);
  }
  const request: Record<string, unknown> = { method: name };
  for (const [key, field] of method.fields) {
    const value = params[key];
    if (value === undefined) {
      if (field.required) return badRequest(`${key} is missing; give ${field.expected}`);
      request[key] = field.fallback;
      continue;
    }
    const read = field.read(value);
    if (read === undefined) {
      const fact = field.secret ? `${key} is not valid` : `${key} is ${quote(value)}`;
      return badRequest(`${fact}; give ${field.expected}`);
    }
    request[key] = read;
  }
  return method.finish === undefined ? (request as Request) : method.finish(request as never);
}

export function isRefusal(checked: Request | Refusal): checked is Refusal {
  return 'code' in checked;
}

function method<Read>(
  fields: { readonly [K in keyof Read]-?: Field<Read[K]> },
  finish?: (read: Read) => Request | Refusal,
): Method {
  const entries = Object.entries<Field<unknown>>(fields);
  const names = new Set(entries.map(([name]) => name));
  return finish === undefined ? { fields: entries, names } : { fields: entries, names, finish };
}

function required<T>(kind: Kind<T>): Field<T> {
  return { ...kind, required: true, fallback: undefined };
}

function optional<T>(kind: Kind<T>): Field<T | undefined> {
  return { ...kind, required: false, fallback: undefined };
}

function withDefault<T>(kind: Kind<T>, fallback: NoInfer<T>): Field<T> {
  return { ...kind, required: false, fallback };
}

function pattern(allowed: RegExp, expected: string): Kind<string> {
  return { read: (value) => (typeof value === 'string' && allowed.test(value) ? value : undefined), expected };
}

function secret(allowed: RegExp, expected: string): Kind<string> {
  return { ...pattern(allowed, expected), secret: true };
}

function oneOf<const T extends string>(values: readonly T[]): Kind<T> {
  return { read: (value) => values.find((candidate) => candidate === value), expected: `one of ${values.join(', ')}` };
}

function number(min: number, max: number): Kind<number> {
  return {
    read(value) {
      // Some languages send every integer in 64 bits. NaN fails both comparisons.
      const read = typeof value === 'bigint' ? Number(value) : value;
      return typeof read === 'number' && read >= min && read <= max && !Object.is(read, -0) ? read : undefined;
    },
    expected: `a number from ${min} to ${max}`,
  };
}

function wholeNumber(min: number, max: number): Kind<number> {
  const { read } = number(min, max);
  return {
    read(value) {
      const whole = read(value);
      return Number.isSafeInteger(whole) ? whole : undefined;
    },
    expected: `a whole number from ${min} to ${max}`,
  };
}

function readText(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '' || value.length > MAX_TEXT_BYTES) return undefined;
  return Buffer.byteLength(value) <= MAX_TEXT_BYTES && !UNPRINTABLE.test(value) ? value : undefined;
}

/**
 * Reads a 64-bit integer. JSON has none over 2^53, so it may be a decimal string; a larger number is already rounded.
 */
function readUint64(value: unknown, min: bigint): bigint | undefined {
  let read: bigint;
  if (typeof value === 'bigint') read = value;
  else if (typeof value === 'number' && Number.isSafeInteger(value) && !Object.is(value, -0)) read = BigInt(value);
  else if (typeof value === 'string' && /^(?:0|[1-9][0-9]{0,19})$/.test(value)) read = BigInt(value);
  else return undefined;
  return read >= min && read <= MAX_UINT64 ? read : undefined;
}

function isMap(params: unknown): params is Readonly<Record<string, unknown>> {
  return typeof params === 'object' && params !== null && !Array.isArray(params) && !ArrayBuffer.isView(params);
}

function unknownField(name: string, method: Method, field: string): Refusal {
  const takes = method.names.size === 0 ? 'no fields' : [...method.names].join(', ');
  return badRequest(`unknown field ${quote(field)}; ${name} takes ${takes}`);
}

function badRequest(message: string): Refusal {
  return refusal('BAD_REQUEST', message);
}
