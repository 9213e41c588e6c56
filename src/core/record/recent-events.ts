import type { BrokerEvent } from '../ports.ts';
import type { EventText } from './event-text.ts';
import { subjectOf, textOf } from './event-text.ts';
import { Ring } from './ring.ts';

/** How many events are remembered. */
const REMEMBERED_EVENTS = 500;

export interface Happening extends EventText {
  /** On the monotonic clock. */
  readonly atMs: number;
  readonly kind: BrokerEvent['kind'];
  /** The account, exchange or sequence that it happened to. */
  readonly subject: string | undefined;
}

/** The last events that an operator should know about, to be looked at afterwards. */
export class RecentEvents {
  readonly #happenings = new Ring<Happening>(REMEMBERED_EVENTS);

  get happenings(): Ring<Happening> {
    return this.#happenings;
  }

  add(event: BrokerEvent, atMs: number): void {
    // Rejected calls are among the recent calls already, and many of them would push out rarer events.
    if (event.kind === 'rejected') return;
    this.#happenings.add({ ...textOf(event), atMs, kind: event.kind, subject: subjectOf(event) });
  }
}
