import type { AccountStatus, StatusResult } from '../../protocol/messages.ts';
import type { OpenedAccount, Reading } from './feed.ts';
import { CallHistory, type Figures } from './history.ts';

export interface AccountRow {
  readonly account: string;
  readonly figures: Figures;
  readonly held: number;
  /** Undefined if the daemon does not list this account: it lists a hundred. */
  readonly status: AccountStatus | undefined;
}

/** Everything that is shown, at one moment. */
export interface Snapshot {
  /** The local time of day, for people. */
  readonly time: string;
  /** The last status; undefined until a daemon has answered. */
  readonly status: StatusResult | undefined;
  readonly total: Figures;
  readonly accounts: readonly AccountRow[];
  readonly opened: OpenedAccount | undefined;
  /** Why no daemon answers, and for how long. */
  readonly silence: { readonly problem: string; readonly forMs: number } | undefined;
  /** How long ago another daemon began to answer, if that was lately. */
  readonly restartedAgoMs: number | undefined;
}

/** For how long a restart is news. */
const NEWS_MS = 60_000;

/** What has been read so far, and what follows from it. */
export class Watch {
  readonly #history = new CallHistory();
  #reading: Reading | undefined;
  #silence: { readonly problem: string; readonly sinceMs: number } | undefined;
  #restartedAtMs = Number.NEGATIVE_INFINITY;

  /** Adds a reading, at `nowMs` of a clock that does not step. */
  heard(reading: Reading, nowMs: number): void {
    const { calls, missed, past, status } = reading;
    const startedAtMs = nowMs - status.uptimeMs;
    const firstAtMs = nowMs - (calls[0]?.agoMs ?? 0);
    const isFirst = this.#reading === undefined;
    if (!isFirst && past !== 'goes on') this.#restartedAtMs = nowMs;
    const since = past === 'last calls' ? firstAtMs : isFirst ? startedAtMs : undefined;
    this.#history.add(calls, missed, nowMs, since);
    this.#reading = reading;
    this.#silence = undefined;
  }

  /** Notes that no answer came. */
  heardNothing(problem: string, nowMs: number): void {
    this.#silence = { problem, sinceMs: this.#silence?.sinceMs ?? nowMs };
  }

  snapshot(nowMs: number, time: string): Snapshot {
    const status = this.#reading?.status;
    const known = status?.accounts ?? [];
    const { total, byAccount } = this.#history.figures(
      nowMs,
      known.map(({ account }) => account),
    );
    const held = heldBy(status);
    const restartedAgoMs = nowMs - this.#restartedAtMs;
    return {
      time,
      status,
      total,
      accounts: [...byAccount].map(([account, figures]) => ({
        account,
        figures,
        held: held.get(account) ?? 0,
        status: known.find((one) => one.account === account),
      })),
      opened: this.#reading?.opened,
      silence: this.#silence && { problem: this.#silence.problem, forMs: nowMs - this.#silence.sinceMs },
      restartedAgoMs: restartedAgoMs < NEWS_MS ? restartedAgoMs : undefined,
    };
  }
}

function heldBy(status: StatusResult | undefined): ReadonlyMap<string, number> {
  const held = new Map<string, number>();
  for (const { holders } of status?.lanes ?? []) {
    for (const { account } of holders) held.set(account, (held.get(account) ?? 0) + 1);
  }
  return held;
}
