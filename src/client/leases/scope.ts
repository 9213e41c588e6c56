import type { Clock } from '../../clock.ts';
import { NoncedError } from '../../errors.ts';
import { waitedTooLong } from '../calls/call.ts';
import { type Bounds, type LeaseWatcher, Wait } from '../calls/wait.ts';
import type { Lease } from './lease.ts';
import { LossSignal } from './loss-signal.ts';

/** What an `exclusive` finds in its async context: the call that runs around it. */
export class Scope {
  /** Whose call it is. */
  readonly client: object;
  readonly lease: Lease;
  readonly parent: Scope | undefined;
  /** Whether the function of this scope has settled: what it left running is on its own then. */
  ended = false;
  #nested: 'free' | 'taken' = 'free';
  readonly #queue: NestedTurn[] = [];

  constructor(client: object, lease: Lease, parent: Scope | undefined) {
    this.client = client;
    this.lease = lease;
    this.parent = parent;
  }

  /** Waits until no other nested call runs. `leave` must follow. */
  enter(clock: Clock, bounds: Bounds): Promise<void> | undefined {
    if (this.#nested === 'free') {
      this.#nested = 'taken';
      return undefined;
    }
    return new NestedTurn(clock, this.lease, this.#queue).start(bounds);
  }

  leave(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#nested = 'free';
    else next.come();
  }
}

/** The nearest call around this one, of whichever client, that still runs and has not given its lease back by itself. */
export function living(scope: Scope | undefined): Scope | undefined {
  let around = scope;
  while (around !== undefined && (around.ended || around.lease.state === 'released')) around = around.parent;
  return around;
}

/** The nearest of them that is this client's. */
export function enclosing(scope: Scope | undefined, client: object): Scope | undefined {
  let around = living(scope);
  while (around !== undefined && around.client !== client) around = living(around.parent);
  return around;
}

/** A nested call's wait for its turn. */
class NestedTurn extends Wait<void> {
  readonly #queue: NestedTurn[];

  constructor(clock: Clock, lease: Lease, queue: NestedTurn[]) {
    super(clock, lease);
    this.#queue = queue;
  }

  come(): void {
    this.succeed();
  }

  protected override begin(): void {
    this.#queue.push(this);
  }

  protected override withdrawn(): void {
    const at = this.#queue.indexOf(this);
    if (at >= 0) this.#queue.splice(at, 1);
  }

  protected override tooLate(): NoncedError {
    return waitedTooLong();
  }
}

/** What a function threw that had begun: whatever it asked for may have failed unsent, but not what it did before. */
function afterBeginning(error: unknown): unknown {
  if (!(error instanceof NoncedError) || error.sent !== false) return error;
  return new NoncedError(error, { cause: error, sent: 'unknown' });
}

/** How the function of an `exclusive` ended, if it did so before its lease. */
export type FunctionEnd<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown };

/** The time in which the function of an `exclusive` runs. Ends with the function, or with the lease if that is sooner. */
export class Hold<T> implements LeaseWatcher {
  readonly #lease: Lease;
  readonly #kind: 'own' | 'shared';
  readonly #loss = new LossSignal();
  #caller: { resolve(value: T): void; reject(error: unknown): void } | undefined;

  constructor(lease: Lease, kind: 'own' | 'shared') {
    this.#lease = lease;
    this.#kind = kind;
  }

  /** Of a nested call: aborts also when the outer call is done, and the lease with it. */
  get signal(): AbortSignal {
    this.#lease.catchUp();
    return this.#loss.signal;
  }

  /** Runs the function. `settled` hears how it ended, also when that is too late for the caller. */
  run(fn: () => Promise<T> | T, settled: (end: FunctionEnd<T>) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#caller = { resolve, reject };
      this.#lease.watch(this);
      let result: Promise<T> | T;
      try {
        result = fn();
      } catch (error) {
        this.#settle({ ok: false, error }, settled);
        return;
      }
      Promise.resolve(result).then(
        (value) => this.#settle({ ok: true, value }, settled),
        (error: unknown) => this.#settle({ ok: false, error }, settled),
      );
    });
  }

  /** Of the lease. */
  leaseOver(error: NoncedError, how: 'lost' | 'released'): void {
    // Released by the function itself: it has what it wanted and goes on without.
    if (how === 'released' && this.#kind === 'own') return;
    this.#loss.abort(error);
    // The function may hang for ever. Its caller must not.
    this.#caller?.reject(error);
    this.#caller = undefined;
  }

  #settle(end: FunctionEnd<T>, settled: (end: FunctionEnd<T>) => void): void {
    this.#lease.unwatch(this);
    const caller = this.#caller;
    this.#caller = undefined;
    settled(end);
    if (end.ok) caller?.resolve(end.value);
    else caller?.reject(afterBeginning(end.error));
  }
}
