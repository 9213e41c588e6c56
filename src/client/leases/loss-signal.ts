/** An AbortSignal that is made when it is first asked for: most calls end without one. */
export class LossSignal {
  #controller: AbortController | undefined;
  #reason: Error | undefined;

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
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
}
