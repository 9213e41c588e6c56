/** Whether an operator lets only urgent calls begin, so that the machine can be restarted without cutting a call off. */
export class Drain {
  #sinceMs: number | undefined;

  /** On the monotonic clock; undefined while all calls are let through. */
  get sinceMs(): number | undefined {
    return this.#sinceMs;
  }

  get isOn(): boolean {
    return this.#sinceMs !== undefined;
  }

  begin(nowMs: number): void {
    this.#sinceMs ??= nowMs;
  }

  end(): void {
    this.#sinceMs = undefined;
  }
}
