import { systemErrorCode } from '../../errors.ts';
import { LONGEST_BUSY_REST_MS } from '../connection/uplink.ts';

/** How long the daemon keeps a lane closed after its restart, for the holder to come back. docs/protocol.md. */
const RETURN_MS = 2_000;
/** What a connection fails with if no daemon listens at the path. */
const NOBODY_LISTENS: readonly (string | undefined)[] = ['ECONNREFUSED', 'ENOENT'];

/**
 * Whether a holder that has lost its connection can still count on its leases. A daemon that is away ends none of them.
 * But if a connection fails for any other reason, such as no free descriptor, a daemon may be up, and it gives the lane
 * to another caller when its return time is over.
 */
export class WayBack {
  /** The last moment, on the monotonic clock, at which no daemon can have waited for the holder. Undefined while connected. */
  #awayAtMs: number | undefined;

  /** There is a connection. */
  found(): void {
    this.#awayAtMs = undefined;
  }

  /** A connection that was good, or an attempt that began at `triedAtMs`, has failed. Returns whether leases count as lost. */
  failed(reason: Error, triedAtMs: number, nowMs: number): boolean {
    if (this.#awayAtMs === undefined || NOBODY_LISTENS.includes(systemErrorCode(reason))) {
      this.#awayAtMs = triedAtMs;
      return false;
    }
    // Not later than the daemon: the next attempt may be that long away.
    return nowMs + LONGEST_BUSY_REST_MS >= this.#awayAtMs + RETURN_MS;
  }
}
