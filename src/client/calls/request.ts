import { NoncedError, type Refusal, refusal } from '../../errors.ts';
import { type Codec, type HeldLease, MAX_MESSAGE_BYTES } from '../../protocol/messages.ts';
import { type DaemonVersion, fitted, isUnsupported } from '../../protocol/minor.ts';

/** What ends a wait before its answer. */
export interface Bounds {
  /** On the monotonic clock. Undefined: the lease ends the wait. */
  readonly giveUpAtMs: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** How a wait ended: `settled` by an answer or a failure, or `left` by a caller before either came. */
export type WaitEnd = 'settled' | 'left';

type Over = (request: Request<unknown>, end: WaitEnd) => void;

/**
 * A request that survives its connection, and the promise of its caller. The promise settles once: with the daemon's
 * answer, at the deadline, or when the caller's signal aborts, whichever comes first.
 */
export abstract class Request<T> {
  readonly method: string;
  /** The same on every connection until the request is answered. 0 before it is asked. */
  id = 0;
  /** When it went out on this connection, on the monotonic clock. Undefined until it has. */
  sentAtMs: number | undefined;
  /** Its place among all messages that the client has sent. */
  sentNumber = 0;
  /** When its caller stops waiting, on the monotonic clock. */
  giveUpAtMs = Number.POSITIVE_INFINITY;
  #caller: { resolve(value: T): void; reject(error: Error): void } | undefined;
  #signal: AbortSignal | undefined;
  #over: Over | undefined;

  constructor(method: string) {
    this.method = method;
  }

  /** Whether a caller still waits. */
  get wanted(): boolean {
    return this.#caller !== undefined;
  }

  /** Starts the wait, once only, and returns the caller's promise. Calls `over` when the wait ends. */
  begin({ giveUpAtMs, signal }: Bounds, over: Over): Promise<T> {
    if (signal?.aborted) return Promise.reject(cancelled(signal));
    if (giveUpAtMs !== undefined) this.giveUpAtMs = giveUpAtMs;
    this.#over = over;
    if (signal !== undefined) {
      this.#signal = signal;
      signal.addEventListener('abort', this);
    }
    return new Promise((resolve, reject) => {
      this.#caller = { resolve, reject };
    });
  }

  /** Returns the parameters as of `nowMs`. The message leaves out those that are undefined. */
  abstract params(nowMs: number): object;

  /** Returns the message as of `nowMs`, or why there can be none: the daemon may be too old for it. */
  encoded(codec: Codec, daemon: DaemonVersion, nowMs: number): Uint8Array | NoncedError {
    try {
      const params = fitted(daemon, this.method, this.params(nowMs));
      if (isUnsupported(params)) return new NoncedError(params);
      const bytes = codec.request(this.id, this.method, params);
      if (bytes.length <= MAX_MESSAGE_BYTES) return bytes;
    } catch (cause) {
      return new NoncedError(refusal('BAD_REQUEST', `${this.method} was given what cannot be sent`), { cause });
    }
    // The daemon would close the connection over it, and over each repetition.
    return new NoncedError(refusal('TOO_LARGE', `a request is over ${MAX_MESSAGE_BYTES} bytes; shorten its label`));
  }

  /** Takes the daemon's answer. Returns false if it makes no sense. */
  abstract accept(result: unknown): boolean;

  /** Takes the daemon's refusal. */
  refuse(cause: Refusal): void {
    this.fail(new NoncedError(cause));
  }

  /** Takes a lease that was granted to this request by an answer that got lost. Returns false if it cannot use the lease. */
  adopt(_held: HeldLease, _endsAtMs: number): boolean {
    return false;
  }

  /** Rejects the caller, if it still waits. */
  fail(error: Error): void {
    const caller = this.#caller;
    if (caller === undefined) return;
    this.#end('settled');
    caller.reject(error);
  }

  /** Rejects the caller before there is an answer, if it still waits. */
  leave(error: Error): void {
    const caller = this.#caller;
    if (caller === undefined) return;
    this.#end('left');
    caller.reject(error);
  }

  /** Called by the caller's signal. */
  handleEvent(): void {
    if (this.#signal !== undefined) this.leave(cancelled(this.#signal));
  }

  protected succeed(value: T): void {
    const caller = this.#caller;
    if (caller === undefined) return;
    this.#end('settled');
    caller.resolve(value);
  }

  /** Called once when the wait ends. */
  protected ended(_end: WaitEnd): void {}

  #end(end: WaitEnd): void {
    this.#caller = undefined;
    this.#signal?.removeEventListener('abort', this);
    this.ended(end);
    this.#over?.(this, end);
  }
}

/** A request whose answer is what its caller gets. */
export class PlainRequest<T> extends Request<T> {
  readonly #params: object;
  readonly #read: (result: unknown) => T | undefined;

  /** `read` returns undefined for a result that makes no sense. */
  constructor(method: string, params: object, read: (result: unknown) => T | undefined) {
    super(method);
    this.#params = params;
    this.#read = read;
  }

  override params(): object {
    return this.#params;
  }

  override accept(result: unknown): boolean {
    const value = this.#read(result);
    if (value !== undefined) this.succeed(value);
    return value !== undefined;
  }
}

/** What a wait is rejected with when its signal aborts. */
export function cancelled(signal: AbortSignal): NoncedError {
  return new NoncedError(refusal('CANCELLED', 'the wait was cancelled by its signal'), { cause: signal.reason });
}

export function waitedTooLong(): NoncedError {
  return new NoncedError(
    refusal('WAIT_TIMEOUT', 'not granted in time (waitMs, maxAgeMs); see `nonced status` for who holds the lane'),
  );
}
