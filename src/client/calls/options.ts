import { NoncedError, refusal } from '../../errors.ts';
import { quote } from '../../protocol/quote.ts';
import { OUTCOMES, PRIORITIES } from '../../terms.ts';
import type {
  AcquireOptions,
  ConnectOptions,
  ExclusiveOptions,
  NextOptions,
  NonceOptions,
  ReleaseOptions,
} from '../api.ts';

/** A kind of value; `expected` follows `give` in a message. Finer checks are the daemon's, of whatever is sent to it. */
interface Kind {
  readonly is: (value: unknown) => boolean;
  readonly expected: string;
}

const TEXT: Kind = { is: (value) => typeof value === 'string', expected: 'a string' };
const FLAG: Kind = { is: (value) => typeof value === 'boolean', expected: 'true or false' };
const NUMBER: Kind = { is: (value) => typeof value === 'number' && !Number.isNaN(value), expected: 'a number' };
/** Never sent as it was given, so nothing else would refuse it. */
const DURATION: Kind = { is: (value) => Number.isFinite(value) && Number(value) >= 0, expected: 'milliseconds from 0' };
const FUNCTION: Kind = { is: (value) => typeof value === 'function', expected: 'a function' };
const SIGNAL: Kind = { is: isSignal, expected: 'an AbortSignal' };
const PRIORITY = oneOf(PRIORITIES);
const OUTCOME = oneOf(OUTCOMES);

const ACQUIRE: KindsOf<AcquireOptions> = {
  account: TEXT,
  key: TEXT,
  unit: TEXT,
  priority: PRIORITY,
  cost: NUMBER,
  ttlMs: NUMBER,
  waitMs: DURATION,
  label: TEXT,
  count: NUMBER,
  signal: SIGNAL,
  maxAgeMs: DURATION,
};

/** Maps, for an option may be called `constructor`. */
const METHODS = {
  connect: kinds<ConnectOptions>({ name: TEXT, socket: TEXT, connectTimeoutMs: DURATION, signal: SIGNAL }),
  acquire: kinds<AcquireOptions>(ACQUIRE),
  exclusive: kinds<ExclusiveOptions>({ ...ACQUIRE, maxHoldMs: DURATION, outcome: FUNCTION }),
  nonce: kinds<NonceOptions>({ account: TEXT, count: NUMBER, signal: SIGNAL, waitMs: DURATION }),
  next: kinds<NextOptions>({ account: TEXT, cost: NUMBER, count: NUMBER, outcome: OUTCOME, signal: SIGNAL }),
  release: kinds<ReleaseOptions>({ usedOwnClock: FLAG }),
} as const;

const ARGUMENTS = { ttlMs: NUMBER, outcome: OUTCOME } as const;

type KindsOf<Options> = { readonly [Name in keyof Options]-?: Kind };

/** Throws BAD_REQUEST for an option that `method` does not take, or of the wrong kind. Undefined is as if left out. */
export function checkOptions(method: keyof typeof METHODS, options: object): void {
  // The types promise an object; a caller in plain JavaScript does not.
  if (typeof options !== 'object' || options === null) {
    throw badRequest(`${method} was given ${described(options)}; give its options as an object`);
  }
  const taken = METHODS[method];
  for (const name in options) {
    const kind = taken.get(name);
    if (kind === undefined) {
      throw badRequest(`unknown option ${quote(name)}; ${method} takes ${[...taken.keys()].join(', ')}`);
    }
    check(name, kind, options[name as keyof typeof options]);
  }
}

/** Throws BAD_REQUEST for an argument of the wrong kind. */
export function checkArgument(name: keyof typeof ARGUMENTS, value: unknown): void {
  check(name, ARGUMENTS[name], value);
}

/** Whether the daemon knows this outcome. */
export function isOutcome(value: unknown): boolean {
  return OUTCOME.is(value);
}

export function badRequest(message: string): NoncedError {
  return new NoncedError(refusal('BAD_REQUEST', message));
}

function check(name: string, kind: Kind, value: unknown): void {
  if (value !== undefined && !kind.is(value)) throw badRequest(`${name} is ${described(value)}; give ${kind.expected}`);
}

function described(value: unknown): string {
  return typeof value === 'function' ? 'a function' : quote(value);
}

function kinds<Options>(table: KindsOf<Options>): ReadonlyMap<string, Kind> {
  return new Map(Object.entries<Kind>(table));
}

function oneOf(values: readonly unknown[]): Kind {
  return { is: (value) => values.includes(value), expected: `one of ${values.join(', ')}` };
}

function isSignal(value: unknown): boolean {
  const signal = value as Partial<AbortSignal> | null;
  return (
    typeof signal?.aborted === 'boolean' &&
    typeof signal.addEventListener === 'function' &&
    typeof signal.removeEventListener === 'function'
  );
}
