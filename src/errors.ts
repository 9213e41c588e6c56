/** Every cause of a refusal, on the wire and in the client. docs/errors.md has a heading for each. */
export const ERROR_CODES = [
  'BAD_REQUEST',
  'UNKNOWN_METHOD',
  'TOO_LARGE',
  'CANCELLED',
  'WAIT_TIMEOUT',
  'LIMIT',
  'PACED',
  'NESTED_LANE',
  'LEASE_LOST',
  'NOT_DURABLE',
  'PAUSED',
  'DRAINING',
  'QUARANTINED',
  'EXCHANGE_DOWN',
  'UNIT_MISMATCH',
  'KEY_MISMATCH',
  'FORBIDDEN',
  'SHUTTING_DOWN',
  'UNAVAILABLE',
  'UNSUPPORTED',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** Whether a bot, or an operator, must do something before requests are no longer refused with the code. */
export const needsAttention = (code: string): boolean => NEED_ATTENTION.includes(code);

const NEED_ATTENTION: readonly string[] = [
  'KEY_MISMATCH',
  'UNIT_MISMATCH',
  'LIMIT',
  'NOT_DURABLE',
  'NESTED_LANE',
] satisfies ErrorCode[];

/** The codes that only clients use. No daemon refuses with them. */
export const CLIENT_CODES: ReadonlySet<ErrorCode> = new Set(['UNAVAILABLE', 'UNSUPPORTED']);

/** An expected "no": a value inside the daemon, an error object on the wire, a NoncedError in the client. */
export interface Refusal {
  readonly code: ErrorCode;
  /** The fact, then the fix. */
  readonly message: string;
  /** When asking again may succeed, in milliseconds from now. */
  readonly retryAfterMs?: number;
}

export function refusal(code: ErrorCode, message: string, retryAfterMs?: number): Refusal {
  return retryAfterMs === undefined ? { code, message } : { code, message, retryAfterMs };
}

/** What the client library rejects with. */
export class NoncedError extends Error {
  override readonly name = 'NoncedError';
  readonly code: ErrorCode;
  /**
   * False: nothing went to the exchange on this request's account, so it may be asked again. `unknown`: a lease that
   * had been granted ended, and what its holder had sent by then may have arrived; look before an order is sent again.
   */
  readonly sent: false | 'unknown';
  readonly retryAfterMs?: number;

  constructor(cause: Refusal, options: ErrorOptions & { readonly sent?: 'unknown' } = {}) {
    super(cause.message, options);
    this.code = cause.code;
    this.sent = options.sent ?? false;
    if (cause.retryAfterMs !== undefined) this.retryAfterMs = cause.retryAfterMs;
  }
}

/** Exit codes, as in sysexits(3). */
export const EXIT = {
  usage: 64,
  /** No daemon answers. */
  unavailable: 69,
  /** A defect of nonced. */
  defect: 70,
  ioError: 74,
  /** Busy or timed out: the cause may pass. */
  tempFail: 75,
  noPermission: 77,
  /** Bad configuration or state: an operator is needed. */
  config: 78,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A reason to end the process with an exit code. The message says the fact, then the fix. */
export class ExitError extends Error {
  override readonly name = 'ExitError';
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** Returns what was thrown as an Error: code that is not ours may throw anything. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** The `code` of a system error ('ENOENT', …), or undefined for anything else. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
