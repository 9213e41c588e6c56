import type { Clock } from '../../clock.ts';
import { NoncedError, type Refusal, refusal } from '../../errors.ts';
import type { HeldLease } from '../../protocol/messages.ts';
import { Wait, type WatchedLease } from './wait.ts';

/** What a call needs of the link to the daemon. */
export interface CallLink {
  /** Why no daemon answers, or undefined while one does. */
  readonly trouble: NoncedError | undefined;
  /** Asks, now or as soon as there is a connection, under an id of its own; again after each new connection until it is answered. */
  ask(call: Call<unknown>): void;
  /** Stops asking; a late answer is ignored. */
  forget(call: Call<unknown>): void;
  /** Tells the daemon that nobody waits for this acquire any more, and leaves its answer to it if one can still come. */
  cancel(call: Call<unknown>): void;
}

/** A request that survives its connection. */
export abstract class Call<T> extends Wait<T> {
  abstract readonly method: string;
  /** Set when it is asked. The same id goes out on every connection until it is answered. */
  id = 0;
  /** When it went out on this connection, on the monotonic clock; undefined while it has not. */
  sentAtMs: number | undefined;
  /** The how-manieth message of the client it went out as. */
  sentNumber = 0;
  protected readonly link: CallLink;

  constructor(clock: Clock, link: CallLink, lease?: WatchedLease) {
    super(clock, lease);
    this.link = link;
  }

  /** The parameters at this time; left out is what is undefined. */
  abstract params(nowMs: number): object;
  /** Takes the daemon's answer. False if it makes no sense. */
  abstract accept(result: unknown): boolean;

  /** Takes the daemon's refusal. */
  refuse(cause: Refusal): void {
    this.fail(new NoncedError(cause));
  }

  /** Takes up a lease that was granted to this call by an answer that got lost. False if it is of no use to it. */
  adopt(_held: HeldLease, _endsAtMs: number): boolean {
    return false;
  }

  protected override begin(): void {
    this.link.ask(this);
  }

  protected override withdrawn(): void {
    this.link.forget(this);
  }

  protected override tooLate(): NoncedError {
    // Without a connection that is the cause, however long the caller was ready to wait.
    return this.link.trouble ?? waitedTooLong();
  }
}

/** A request of one answer: asks, and turns the result into what the caller gets. */
export class PlainCall<T> extends Call<T> {
  override readonly method: string;
  readonly #params: object;
  readonly #read: (result: unknown) => T | undefined;

  /** `read` answers undefined for a result that makes no sense. */
  constructor(clock: Clock, link: CallLink, method: string, params: object, read: (result: unknown) => T | undefined) {
    super(clock, link);
    this.method = method;
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

export function waitedTooLong(): NoncedError {
  return new NoncedError(
    refusal('WAIT_TIMEOUT', 'not granted in time (waitMs, maxAgeMs); see `nonced status` for who holds the lane'),
  );
}
