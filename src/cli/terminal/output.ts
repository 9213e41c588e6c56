import { type ErrorCode, EXIT, type ExitCode, ExitError, NoncedError, systemErrorCode } from '../../errors.ts';

/** Makes sure that a reader of standard error that is slow or gone neither holds up nor ends this process. */
export function unblockErrors(): void {
  process.stderr.on('error', () => {});
  // Node writes to pipes and sockets without waiting, but to a terminal only if told so: a stalled ssh, or Ctrl-S,
  // would stop the process at its next line.
  const terminal = process.stderr as { _handle?: { setBlocking?(blocking: boolean): void } };
  if (process.stderr.isTTY) terminal._handle?.setBlocking?.(false);
}

/** Returns the message of an expected error, and the stack of a defect. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isForeseen = error instanceof NoncedError || error instanceof ExitError;
  return isForeseen ? error.message : (error.stack ?? error.message);
}

const EXIT_CODES: Readonly<Record<ErrorCode, ExitCode>> = {
  BAD_REQUEST: EXIT.usage,
  UNKNOWN_METHOD: EXIT.usage,
  TOO_LARGE: EXIT.usage,
  UNIT_MISMATCH: EXIT.usage,
  KEY_MISMATCH: EXIT.usage,
  UNAVAILABLE: EXIT.unavailable,
  NOT_DURABLE: EXIT.ioError,
  FORBIDDEN: EXIT.noPermission,
  CANCELLED: EXIT.tempFail,
  WAIT_TIMEOUT: EXIT.tempFail,
  LIMIT: EXIT.tempFail,
  PACED: EXIT.tempFail,
  NESTED_LANE: EXIT.tempFail,
  LEASE_LOST: EXIT.tempFail,
  PAUSED: EXIT.tempFail,
  DRAINING: EXIT.tempFail,
  QUARANTINED: EXIT.tempFail,
  EXCHANGE_DOWN: EXIT.tempFail,
  SHUTTING_DOWN: EXIT.tempFail,
  UNSUPPORTED: EXIT.tempFail,
};

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ExitError) return error.exitCode;
  if (!(error instanceof NoncedError)) return EXIT.defect;
  const isForbidden = ['EACCES', 'EPERM'].includes(systemErrorCode(error.cause) ?? '');
  if (error.code === 'UNAVAILABLE' && isForbidden) return EXIT.noPermission;
  // A newer daemon may refuse with a code that this version does not know.
  return EXIT_CODES[error.code] ?? EXIT.tempFail;
}

const HOUR_MS = 3_600_000;

/** Returns how far ahead of the clock an operator may put a sequence, by the option that was given. */
export function allowedLeadMs({ yes, force }: { readonly yes: boolean; readonly force: boolean }): number {
  if (force) return Number.MAX_SAFE_INTEGER;
  return yes ? 24 * HOUR_MS : HOUR_MS;
}
