import type { GrantResult, HeldLease, HelloResult, NonceResult, StatusResult } from '../../protocol/messages.ts';
import type { ExclusionPolicy } from '../../terms.ts';

// A daemon may be newer: fields that are not known here are not looked at. What is known must be as promised, or the
// answer is undefined and the connection counts as broken.

type Fields = Readonly<Record<string, unknown>>;

export function readNonce(result: unknown): NonceResult | undefined {
  if (!isFields(result)) return undefined;
  const nonce = integer(result['nonce']);
  const count = result['count'];
  return nonce === undefined || !isDuration(count) ? undefined : { nonce, count };
}

export function readGrant(result: unknown): GrantResult | undefined {
  const drawn = readNonce(result);
  if (drawn === undefined || !isFields(result)) return undefined;
  const token = integer(result['token']);
  const ttlMs = result['ttlMs'];
  const waitedMs = result['waitedMs'];
  if (token === undefined || !isDuration(ttlMs) || !isDuration(waitedMs)) return undefined;
  return { nonce: drawn.nonce, count: drawn.count, token, ttlMs, waitedMs };
}

export function readTtlMs(result: unknown): number | undefined {
  const ttlMs = isFields(result) ? result['ttlMs'] : undefined;
  return isDuration(ttlMs) ? ttlMs : undefined;
}

export function readReleased(result: unknown): boolean | undefined {
  const released = isFields(result) ? result['released'] : undefined;
  return typeof released === 'boolean' ? released : undefined;
}

/** The reason is for people only: a newer daemon may have others. */
export function readRevoked(params: unknown): { readonly token: bigint; readonly reason: unknown } | undefined {
  const token = isFields(params) ? integer(params['token']) : undefined;
  return token === undefined || !isFields(params) ? undefined : { token, reason: params['reason'] };
}

/** What this client needs of the answer to `hello`. */
export type Greeting = Pick<HelloResult, 'version' | 'minor' | 'instance' | 'epoch' | 'exclusive' | 'held'>;

export function readGreeting(result: unknown): Greeting | undefined {
  if (!isFields(result)) return undefined;
  const { version, instance, exclusive } = result as { [field: string]: unknown };
  const epoch = integer(result['epoch']);
  // The first release told none.
  const minor = result['minor'] ?? 0;
  const held = Array.isArray(result['held']) ? result['held'].map(readHeld) : [undefined];
  if (typeof version !== 'string' || typeof instance !== 'string' || !isPolicy(exclusive)) return undefined;
  if (!isDuration(result['protocol']) || !isDuration(minor) || epoch === undefined || !held.every(isDefined))
    return undefined;
  return { version, minor, instance, exclusive, epoch: Number(epoch), held };
}

/** Reads an answer to `policy`, and also one to `status`. */
export function readPolicy(result: unknown): ExclusionPolicy | undefined {
  const exclusive = isFields(result) ? result['exclusive'] : undefined;
  return isPolicy(exclusive) ? exclusive : undefined;
}

/** Nonces as bigint, whatever the encoding made of them; all else as it came. */
export function readStatus(result: unknown): StatusResult | undefined {
  if (!isFields(result) || !Array.isArray(result['sequences']) || !isPolicy(result['exclusive'])) return undefined;
  const sequences = (result['sequences'] as unknown[]).map((sequence) => {
    if (!isFields(sequence)) return undefined;
    const last = integer(sequence['last']);
    const ceiling = integer(sequence['ceiling']);
    return last === undefined || ceiling === undefined ? undefined : { ...sequence, last, ceiling };
  });
  if (!sequences.every(isDefined)) return undefined;
  return withJson({ ...result, sequences }) as unknown as StatusResult;
}

/** Makes the object printable by `JSON.stringify`, which throws on a bigint: nonces are written as decimal strings. */
function withJson(fields: object): object {
  const toJSON = (): unknown =>
    JSON.parse(JSON.stringify({ ...fields }, (_key, part) => (typeof part === 'bigint' ? String(part) : part)));
  return Object.defineProperty(fields, 'toJSON', { value: toJSON });
}

function readHeld(held: unknown): HeldLease | undefined {
  if (!isFields(held)) return undefined;
  const token = integer(held['token']);
  const account = held['account'];
  const id = held['id'];
  const ttlMs = held['ttlMs'];
  if (token === undefined || typeof account !== 'string' || !isDuration(ttlMs)) return undefined;
  return { token, account, id: typeof id === 'number' || typeof id === 'string' ? id : null, ttlMs };
}

/** An integer from 0, as a bigint, a number that is exact, or decimal digits. */
function integer(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value >= 0n ? value : undefined;
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined;
  return typeof value === 'string' && /^\d{1,20}$/.test(value) ? BigInt(value) : undefined;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isDuration(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

/** Also one that only a newer daemon knows: callers look for the ones known here. */
function isPolicy(value: unknown): value is ExclusionPolicy {
  return typeof value === 'string';
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined;
}
