/**
 * The requests that wait, for a lane or for a ceiling. Each is counted once, with its client and with its account. One
 * that leaves is removed everywhere, so that a waiter that was cancelled or went away is never granted (I6). None waits
 * longer than necessary for a write that hangs.
 */
import type { Refusal } from '../../errors.ts';
import type { BrokerParts } from './broker-parts.ts';
import type { Client, Draw, SlowWrite, Waiter } from './lease.ts';
import { full } from './refusals.ts';
import { askedBy, refuse } from './refuse.ts';

export class WaitingRoom {
  /** Draws that wait for a ceiling, in the order of their arrival. */
  readonly draws = new Set<Draw>();
  readonly #parts: BrokerParts;
  readonly #slowWrite: SlowWrite = { kind: 'slow-write', dueMs: 0, heapIndex: -1 };
  #waiting = 0;

  constructor(parts: BrokerParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#waiting;
  }

  /** Returns why no further request of the client may wait, if so. */
  noRoomFor(client: Client): Refusal | undefined {
    const { waitingPerClient, waiting } = this.#parts.limits;
    if (client.waiting.size + client.leases.size >= waitingPerClient) {
      return full(`this connection has ${waitingPerClient} requests waiting or held`);
    }
    return this.#waiting >= waiting ? full(`${waiting} requests are waiting already`) : undefined;
  }

  /** Adds a waiter at the end of its lane, or a draw. */
  add(waiting: Waiter | Draw): void {
    if (waiting.kind === 'waiter') waiting.lane.enqueue(waiting);
    else this.draws.add(waiting);
    waiting.client.waiting.set(waiting.id, waiting);
    waiting.account.waiting += 1;
    this.#waiting += 1;
  }

  /** Stops counting a waiter that its lane has let go, or a draw that is no longer among the draws. */
  forget(waiting: Waiter | Draw): void {
    if (waiting.kind === 'waiter') this.#parts.deadlines.remove(waiting);
    waiting.client.waiting.delete(waiting.id);
    waiting.account.waiting -= 1;
    this.#waiting -= 1;
  }

  /** Removes a waiter or draw from everything that knows it. */
  drop(waiting: Waiter | Draw): void {
    if (waiting.kind === 'waiter') waiting.lane.remove(waiting);
    else this.draws.delete(waiting);
    this.forget(waiting);
  }

  /** Removes a waiter or draw and tells it why. Returns false, so that a check can end with it. */
  refuse(waiting: Waiter | Draw, why: Refusal): false {
    this.drop(waiting);
    refuse(this.#parts, waiting.client, waiting.id, why, askedBy(waiting));
    return false;
  }

  /** Sets the deadline after which requests go on without the write that is under way. */
  watchWrite(): void {
    const { clock, deadlines, ledger } = this.#parts;
    const { slowAtMs } = ledger;
    // Past that time the sequences do without the write already: what still waits has used all that is durable.
    if (slowAtMs !== undefined && slowAtMs > clock.monotonicMs()) deadlines.reschedule(this.#slowWrite, slowAtMs);
  }

  /** The write that was watched has ended. */
  unwatchWrite(): void {
    this.#parts.deadlines.remove(this.#slowWrite);
  }
}
