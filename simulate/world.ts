import type { Clock, Timer } from '../src/clock.ts';

interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly fire: () => void;
}

/** Rounds up to an eighth of a millisecond, which a double holds exactly, so that no deadline is missed by rounding. */
export function onGrid(ms: number): number {
  return Math.ceil(ms * 8) / 8;
}

/**
 * Runs events in the order of their time, and then of their scheduling. After each event everything that waits for a
 * promise, a microtask or the next tick goes on until nothing is left to do: that is one turn.
 */
export class World {
  #nowMs = 0;
  #order = 0;
  #turns = 0;
  readonly #heap: Due[] = [];

  get nowMs(): number {
    return this.#nowMs;
  }

  get turns(): number {
    return this.#turns;
  }

  /** Calls `fire` in a turn of its own, `delayMs` from now. */
  after(delayMs: number, fire: () => void): Timer {
    const due: Due & { cancelled?: boolean } = {
      atMs: this.#nowMs + onGrid(Math.max(0, delayMs)),
      order: this.#order++,
      fire: () => due.cancelled || fire(),
    };
    this.#push(due);
    return {
      cancel: () => {
        due.cancelled = true;
      },
    };
  }

  /** Lets time pass until `untilMs`, or until `turnEnded`, which is called after each turn, returns true. */
  run(untilMs: number, turnEnded: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        try {
          if (this.#turns > 0 && turnEnded()) {
            resolve();
            return;
          }
          const due = this.#pop(untilMs);
          if (due === undefined) {
            this.#nowMs = Math.max(this.#nowMs, untilMs);
            resolve();
            return;
          }
          this.#nowMs = due.atMs;
          this.#turns += 1;
          due.fire();
          // Not a timer, but the next turn of Node's own loop: before it, all microtasks and next ticks have run.
          setImmediate(turn);
        } catch (error) {
          reject(error);
        }
      };
      // What was begun before gets a turn first.
      setImmediate(turn);
    });
  }

  #pop(untilMs: number): Due | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined || first.atMs > untilMs) return undefined;
    const last = heap.pop();
    if (last === undefined || last === first) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      let sooner = heap[child];
      const right = heap[child + 1];
      if (sooner === undefined) break;
      if (right !== undefined && isSooner(right, sooner)) {
        sooner = right;
        child += 1;
      }
      if (!isSooner(sooner, last)) break;
      heap[index] = sooner;
      index = child;
    }
    heap[index] = last;
    return first;
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let index = heap.push(due) - 1;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || !isSooner(due, parent)) break;
      heap[index] = parent;
      index = above;
    }
    heap[index] = due;
  }
}

function isSooner(a: Due, b: Due): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** The clocks of one machine. They may move together or apart. */
export class MachineClock {
  readonly #world: World;
  #wallMs = Date.UTC(2026, 10, 1);
  #offMs = 0;
  /** How much time has passed while it slept or was paused. */
  #missedMs = 0;
  #setBackMs = 0;
  #monotonicMs = 1_000_000;
  #uptimeMs = 1_000_000;
  #boot = 0;

  constructor(world: World) {
    this.#world = world;
  }

  get bootId(): string {
    return `boot-${this.#boot}`;
  }

  wallMs(): number {
    return Math.floor(this.#wallMs + this.#world.nowMs);
  }

  monotonicMs(): number {
    return this.#monotonicMs + this.#world.nowMs;
  }

  uptimeMs(): number {
    return this.#uptimeMs + this.#world.nowMs;
  }

  /** How far the wall clock is from where it should be. */
  get offMs(): number {
    return this.#offMs;
  }

  /** Sets the wall clock. */
  step(ms: number): void {
    this.#wallMs += ms;
    this.#offMs += ms;
    this.#setBackMs += Math.max(0, -ms);
  }

  /** The time as it passes outside the machine, less what its wall clock was set back by. A program can tell as much. */
  tellableMs(): number {
    return this.#missedMs - this.#setBackMs + this.#world.nowMs;
  }

  /** Lets the machine sleep: the monotonic clock stands still. */
  suspend(ms: number): void {
    this.#missedMs += ms;
    this.#wallMs += ms;
    this.#uptimeMs += ms;
  }

  /** Pauses the machine, which is a virtual one: all its clocks stand still, and afterwards its wall clock is set. */
  pause(ms: number): void {
    this.#missedMs += ms;
    this.#wallMs += ms;
  }

  /** Boots again, `downMs` later, with the wall clock where the hardware says it is. */
  reboot(downMs: number, offMs: number): void {
    this.#boot += 1;
    this.#wallMs += downMs + offMs;
    this.#offMs += offMs;
    this.#monotonicMs = 5_000 - this.#world.nowMs;
    this.#uptimeMs = 5_000 - this.#world.nowMs;
  }
}

/** What wakes a process. After a stall Node runs the timers that are due before it reads what has come in. */
type Wake = 'timer' | 'input';

/** One process of the machine. It sees the machine's clocks, and can be stopped, continued and killed. */
export class Process implements Clock {
  readonly name: string;
  readonly #world: World;
  readonly #clock: MachineClock;
  #state: 'running' | 'stopped' | 'dead' = 'running';
  readonly #backlog: { readonly wake: Wake; readonly fire: () => void }[] = [];
  readonly #onDeath: (() => void)[] = [];
  /** How many events of the backlog are scheduled and have not run. */
  #resuming = 0;
  #deferred = 0;

  constructor(name: string, world: World, clock: MachineClock) {
    this.name = name;
    this.#world = world;
    this.#clock = clock;
  }

  get isAlive(): boolean {
    return this.#state !== 'dead';
  }

  /** Whether it is neither stopped nor still catching up after a stall. */
  get isRunning(): boolean {
    return this.#state === 'running' && this.#resuming === 0 && this.#deferred === 0;
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  uptimeMs(): number {
    return this.#clock.uptimeMs();
  }

  after(delayMs: number, fire: () => void): Timer {
    let cancelled = false;
    this.#world.after(Math.ceil(Math.max(0, delayMs)), () =>
      this.wake('timer', () => {
        if (!cancelled) fire();
      }),
    );
    return {
      cancel: () => {
        cancelled = true;
      },
    };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Runs `fire` in this process: now, or when it is continued, or never. */
  wake(wake: Wake, fire: () => void): void {
    if (this.#state === 'dead') return;
    // What comes in while it catches up is later than everything that waits.
    if (this.#state === 'stopped') this.#backlog.push({ wake, fire });
    else if (this.#resuming > 0) this.#resume(fire);
    else fire();
  }

  /** Runs `fire` once everything that has come in by now was read. */
  defer(fire: () => void): void {
    this.#deferred += 1;
    this.#world.after(0, () =>
      this.wake('input', () => {
        this.#deferred -= 1;
        fire();
      }),
    );
  }

  stop(): void {
    if (this.#state === 'running') this.#state = 'stopped';
  }

  continue(): void {
    if (this.#state !== 'stopped') return;
    this.#state = 'running';
    const backlog = this.#backlog.splice(0);
    for (const { wake, fire } of backlog) if (wake === 'timer') this.#resume(fire);
    for (const { wake, fire } of backlog) if (wake === 'input') this.#resume(fire);
  }

  /** Kills it. What it still does in this turn has no visible effect. */
  die(): void {
    if (this.#state === 'dead') return;
    this.#state = 'dead';
    this.#backlog.length = 0;
    for (const tell of this.#onDeath.splice(0)) tell();
  }

  onDeath(tell: () => void): void {
    this.#onDeath.push(tell);
  }

  #resume(fire: () => void): void {
    this.#resuming += 1;
    this.#world.after(0, () => {
      this.#resuming -= 1;
      if (this.#state === 'stopped') this.#backlog.push({ wake: 'input', fire });
      else if (this.#state === 'running') fire();
    });
  }
}
