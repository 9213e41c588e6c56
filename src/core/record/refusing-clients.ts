/** How many clients are remembered. A client that makes up names fills this table and nothing else. */
const REMEMBERED_CLIENTS = 64;
const FORGOTTEN_AFTER_MS = 3_600_000;

/** A client as it named itself. */
interface Who {
  readonly name: string | undefined;
  readonly pid: number | undefined;
}

export interface RefusingClient extends Who {
  /** The instance that it knew before. */
  readonly expected: string;
  /** When it said so, on the monotonic clock. */
  readonly sinceMs: number;
}

/**
 * The clients that knew another instance and stay away from this daemon. Such a client does not come back before its
 * process is restarted, so this is the only trace of it.
 */
export class RefusingClients {
  /** By name and pid, the earliest first. */
  readonly #clients = new Map<string, RefusingClient>();
  /** The processes that each took the place of one that had refused. */
  readonly #restarted = new Set<string>();

  /** Returns whether this is a client that was not among them. */
  refused({ name, pid }: Who, expected: string, nowMs: number): boolean {
    this.#forgetOld(nowMs);
    const key = keyOf({ name, pid });
    const isKnown = this.#clients.delete(key);
    if (this.#clients.size >= REMEMBERED_CLIENTS) return false;
    this.#clients.set(key, { name, pid, expected, sinceMs: nowMs });
    return !isKnown;
  }

  /** Takes in that a client uses this daemon: it refuses it no longer, and neither does the process that it replaces. */
  accepted(who: Who): void {
    // Nearly always.
    if (this.#clients.size === 0) return;
    const key = keyOf(who);
    if (this.#clients.delete(key) || who.name === undefined || this.#restarted.has(key)) return;
    // A bot that was restarted has its old name and a new pid. It takes the place of one process, however often it connects.
    for (const [old, { name }] of this.#clients) {
      if (name !== who.name) continue;
      this.#clients.delete(old);
      this.#restarted.add(key);
      break;
    }
    const [first] = this.#restarted;
    if (this.#restarted.size > REMEMBERED_CLIENTS && first !== undefined) this.#restarted.delete(first);
  }

  /** Returns the clients that have refused within the last hour, the earliest first. */
  lately(nowMs: number): Iterable<RefusingClient> {
    this.#forgetOld(nowMs);
    return this.#clients.values();
  }

  #forgetOld(nowMs: number): void {
    for (const [key, { sinceMs }] of this.#clients) {
      if (nowMs - sinceMs > FORGOTTEN_AFTER_MS) this.#clients.delete(key);
    }
  }
}

function keyOf({ name, pid }: Who): string {
  return `${pid ?? ''} ${name ?? ''}`;
}
