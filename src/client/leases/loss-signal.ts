/**
 * The AbortSignal of a lease. It is made when it is first asked for: most calls end without one.
 *
 * After a stall of the process, the bot's own timers and callbacks may run before the timer that ends the lease. So
 * `aborted`, `reason` and `throwIfAborted` of this signal look at the clock first, by `catchUp`. What reads one of them
 * before it sends, as `fetch` does, sends nothing under a lease that is over, however early it was given the signal.
 */
export class LossSignal {
  readonly #catchUp: () => void;
  #controller: AbortController | undefined;
  #reason: Error | undefined;

  /** `catchUp` calls `abort` if the lease is over by now. */
  constructor(catchUp: () => void) {
    this.#catchUp = catchUp;
  }

  get signal(): AbortSignal {
    this.#catchUp();
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      this.#lookAtClock(this.#controller.signal);
    }
    if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  abort(reason: Error): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    const controller = this.#controller;
    // Listeners are the caller's code: never run in the middle of ours, which could be half-way through a list of leases.
    if (controller !== undefined) queueMicrotask(() => controller.abort(reason));
  }

  #lookAtClock(signal: AbortSignal): void {
    const reasonNow = (): Error | undefined => {
      this.#catchUp();
      return this.#reason;
    };
    Object.defineProperties(signal, {
      aborted: { get: () => reasonNow() !== undefined, configurable: true },
      reason: { get: reasonNow, configurable: true },
      throwIfAborted: {
        value: () => {
          const reason = reasonNow();
          if (reason !== undefined) throw reason;
        },
        configurable: true,
      },
    });
  }
}
