import { type CallsResult, type EndedCallRecord, MAX_PAGE, type StatusResult } from '../../protocol/messages.ts';

export type Ask = <Result>(method: string, params: object) => Promise<Result>;

/** One answer of the daemon. */
export interface Reading {
  readonly status: StatusResult;
  /** The calls that have ended since the last reading, the earliest first. */
  readonly calls: readonly EndedCallRecord[];
  /** How many calls the daemon forgot before they were read. */
  readonly missed: number;
  /**
   * How much of the past it covers: what came since the last reading, everything since the daemon's start, or the last
   * calls.
   */
  readonly past: 'goes on' | 'since its start' | 'last calls';
  readonly opened: OpenedAccount | undefined;
}

/** The last calls of one account, the latest first. */
export interface OpenedAccount {
  readonly account: string;
  readonly calls: readonly EndedCallRecord[];
}

/** How many calls of one account are read. */
const OPENED_CALLS = 200;
/** The daemon remembers no more calls than this many pages hold. */
const MOST_PAGES = 3;

/** Reads on from where it stopped, or from the beginning if another daemon answers, which numbers its calls from 1. */
export class Feed {
  readonly #ask: Ask;
  #daemon: string | undefined;
  #after: number | undefined;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** Rejects as `ask` does. */
  async read(opened: string | undefined): Promise<Reading> {
    const status = await this.#ask<StatusResult>('status', {});
    const daemon = `${status.instance} ${status.epoch}`;
    if (daemon !== this.#daemon) this.#after = undefined;
    this.#daemon = daemon;
    const { calls, missed, past } = this.#after === undefined ? await this.#first() : await this.#next(this.#after);
    return { status, calls, missed, past, opened: opened === undefined ? undefined : await this.#open(opened) };
  }

  async #first(): Promise<Pick<Reading, 'calls' | 'missed' | 'past'>> {
    const { calls, after } = await this.#ask<CallsResult>('calls', { limit: MAX_PAGE });
    this.#after = after;
    return { calls, missed: 0, past: calls.length < after ? 'last calls' : 'since its start' };
  }

  async #next(from: number): Promise<Pick<Reading, 'calls' | 'missed' | 'past'>> {
    const calls: EndedCallRecord[] = [];
    let missed = 0;
    for (let page = 0, after = from; page < MOST_PAGES; page += 1) {
      const found = await this.#ask<CallsResult>('calls', { after, limit: MAX_PAGE });
      calls.push(...found.calls);
      missed += found.missed;
      after = found.after;
      this.#after = after;
      if (found.calls.length < MAX_PAGE) break;
    }
    return { calls, missed, past: 'goes on' };
  }

  async #open(account: string): Promise<OpenedAccount> {
    const { calls } = await this.#ask<CallsResult>('calls', { account, limit: OPENED_CALLS });
    return { account, calls: [...calls].reverse() };
  }
}
