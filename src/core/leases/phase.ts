/**
 * Whether the broker grants anything: not before it is open, and not after a stop or a failure. Whoever draws, notes or
 * promises something asks here first, and again after whatever may have failed or waited.
 */
export class Phase {
  readonly #failed: (error: Error) => void;
  #phase: 'starting' | 'granting' | 'stopped' | 'failed' = 'starting';

  /** `failed` hears why nothing can be granted any more. */
  constructor(failed: (error: Error) => void) {
    this.#failed = failed;
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
    // Several notes may fail in one turn; the first one ends it all.
    if (this.#phase === 'failed') return;
    this.#phase = 'failed';
    this.#failed(error);
  }
}
