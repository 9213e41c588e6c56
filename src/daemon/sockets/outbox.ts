/**
 * The connections that have something to send. Each writes once for everything that one event has caused: at the end of
 * the input that is being acted on, or else at the end of the turn.
 */
export class Outbox {
  #senders: { flush(): void }[] = [];
  #isHeld = false;

  add(sender: { flush(): void }): void {
    this.#senders.push(sender);
    if (this.#senders.length === 1 && !this.#isHeld) queueMicrotask(() => this.flush());
  }

  /** Keeps back what comes from now on until `flush` is called. */
  hold(): void {
    this.#isHeld = true;
  }

  flush(): void {
    this.#isHeld = false;
    const senders = this.#senders;
    this.#senders = [];
    for (const sender of senders) sender.flush();
  }
}
