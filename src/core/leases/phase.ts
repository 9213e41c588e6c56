/**
 * Whether the broker grants anything: not before it is open, and not after a stop or a failure. Code that draws, notes or
 * promises something asks here first, and asks again after anything that may have failed or waited.
 */
export class Phase {
  readonly #onFailed: (error: Error) => void;
  #phase: 'starting' | 'granting' | 'stopped' | 'failed' = 'starting';

  /** `onFailed` is called once, with the reason why nothing can be granted any more. */
  constructor(onFailed: (error: Error) => void) {
    this.#onFailed = onFailed;
  }

  get isGranting(): boolean {
    return this.#phase === 'granting';
  }

  get isStopped(): boolean {
    return this.#phase === 'stopped';
  }

  open(): void {
    if (this.#phase === 'starting') this.#phase = 'granting';
  }

  stop(): void {
    if (this.#phase !== 'failed') this.#phase = 'stopped';
  }

  fail(error: Error): void {
    // Several notes may fail at once. The first one ends everything.
    if (this.#phase === 'failed') return;
    this.#phase = 'failed';
    this.#onFailed(error);
  }
}
