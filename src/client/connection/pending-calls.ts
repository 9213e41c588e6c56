import type { Call } from '../calls/call.ts';
import { ReleaseCall } from '../leases/lease-calls.ts';

const LAST_ID = 2 ** 32 - 1;

/** What waits for an answer, in the order in which it was asked; with it acquires that nobody wants any more. */
export class PendingCalls {
  readonly #calls = new Map<number, Call<unknown>>();
  /** Ids of acquires that were cancelled: a grant may have crossed the cancel, and has to be given back. */
  readonly #unwanted = new Set<number>();
  #lastId = 0;

  /** Whether anybody waits. */
  get wanted(): boolean {
    return this.#calls.size > this.#unwanted.size;
  }

  /** An id that no other message of this client has, until 2^32 more were sent. */
  newId(): number {
    do this.#lastId = this.#lastId === LAST_ID ? 1 : this.#lastId + 1;
    while (this.#calls.has(this.#lastId));
    return this.#lastId;
  }

  /** Adds `call` at the end, under a new id. */
  add(call: Call<unknown>): void {
    call.id = this.newId();
    call.sentAtMs = undefined;
    this.#calls.set(call.id, call);
  }

  has(call: Call<unknown>): boolean {
    return this.#calls.get(call.id) === call;
  }

  /** The call with this id. */
  get(id: unknown): Call<unknown> | undefined {
    return typeof id === 'number' ? this.#calls.get(id) : undefined;
  }

  remove(id: number): boolean {
    this.#unwanted.delete(id);
    return this.#calls.delete(id);
  }

  /** Nobody waits for `call` any more, but its answer matters. */
  keepUnwanted(call: Call<unknown>): void {
    this.#unwanted.add(call.id);
  }

  /** Whether a release of this token waits for its answer. */
  hasRelease(token: bigint): boolean {
    for (const call of this.#calls.values()) if (call instanceof ReleaseCall && call.token === token) return true;
    return false;
  }

  /** Those that have not gone out on this connection. Asking more meanwhile is fine. */
  *unsent(): Iterable<Call<unknown>> {
    for (const call of this.#calls.values()) if (call.sentAtMs === undefined) yield call;
  }

  /** The connection is gone, and the answers with it. */
  lostConnection(): void {
    // Should one of these have been granted, the next hello tells.
    for (const id of this.#unwanted) this.#calls.delete(id);
    this.#unwanted.clear();
    for (const call of this.#calls.values()) call.sentAtMs = undefined;
  }

  /** Takes all out. */
  takeAll(): Call<unknown>[] {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    this.#unwanted.clear();
    return calls;
  }
}
