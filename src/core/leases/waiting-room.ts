/**
 * Who waits: for a lane, or for a ceiling. Whoever is taken in is counted once, with his client and with his account, and
 * whoever leaves is known to nothing any more, so that one who has cancelled or gone is never granted (I6). Nobody waits
 * longer than need be for a write that hangs.
 */
import type { Clock } from '../../clock.ts';
import type { Refusal } from '../../errors.ts';
import type { DeadlineQueue } from '../lanes/deadline-queue.ts';
import type { Ledger } from '../nonces/ledger.ts';
import type { BrokerParts, Limits } from './broker-parts.ts';
import type { Client, Draw, Due, SlowWrite, Waiter } from './entities.ts';
import { full } from './refusals.ts';

export class WaitingRoom {
  /** Draws that wait for a ceiling, in the order of their arrival. */
  readonly draws = new Set<Draw>();
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #ledger: Ledger;
  readonly #deadlines: DeadlineQueue<Due>;
  readonly #slowWrite: SlowWrite = { kind: 'slow-write', dueMs: 0, heapIndex: -1 };
  #waiting = 0;

  constructor({ clock, limits, ledger, deadlines }: BrokerParts) {
    this.#clock = clock;
    this.#limits = limits;
    this.#ledger = ledger;
    this.#deadlines = deadlines;
  }

  get size(): number {
    return this.#waiting;
  }

  /** Why no further request of the client may wait, if so. */
  noRoomFor(client: Client): Refusal | undefined {
    const { waitingPerClient, waiting } = this.#limits;
    if (client.waiting.size + client.leases.size >= waitingPerClient) {
      return full(`this connection has ${waitingPerClient} requests waiting or held`);
    }
    return this.#waiting >= waiting ? full(`${waiting} requests are waiting already`) : undefined;
  }

  /** Takes in a waiter, at the end of its lane, or a draw. */
  add(waiting: Waiter | Draw): void {
    if (waiting.kind === 'waiter') waiting.lane.enqueue(waiting);
    else this.draws.add(waiting);
    waiting.client.waiting.set(waiting.id, waiting);
    waiting.account.waiting += 1;
    this.#waiting += 1;
  }

  /** Counts a waiter or draw no more that has left its lane, or the draws, already. */
  forget(waiting: Waiter | Draw): void {
    if (waiting.kind === 'waiter') this.#deadlines.remove(waiting);
    waiting.client.waiting.delete(waiting.id);
    waiting.account.waiting -= 1;
    this.#waiting -= 1;
  }

  /** Takes a waiter or draw out of everything that knows it. */
  drop(waiting: Waiter | Draw): void {
    if (waiting.kind === 'waiter') waiting.lane.remove(waiting);
    else this.draws.delete(waiting);
    this.forget(waiting);
  }

  /** Takes a waiter or draw out, and tells it why. Answers false, as what is asked about it is not so. */
  refuse(waiting: Waiter | Draw, why: Refusal): false {
    this.drop(waiting);
    waiting.client.peer.refused(waiting.id, why);
    return false;
  }

  /** Sees to it that nobody waits long for a write that hangs. */
  watchWrite(): void {
    const slowAtMs = this.#ledger.slowAtMs;
    // Past it, the sequences do without the write already: what still waits has used all that is durable.
    if (slowAtMs !== undefined && slowAtMs > this.#clock.monotonicMs()) {
      this.#deadlines.reschedule(this.#slowWrite, slowAtMs);
    }
  }

  /** The write that was watched has ended. */
  unwatchWrite(): void {
    this.#deadlines.remove(this.#slowWrite);
  }
}
