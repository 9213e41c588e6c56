// The scripts of the page are not modules: they share one scope, and run in the order of assets.ts.

type PageData = import('../page-data.ts').PageData;

/** The one of src/durations.ts, which assets.ts puts before these scripts. */
declare function formatDuration(ms: number): string;

/** What a mark or a span concerns if it is not one row, as in page-data.ts. */
const REACH_ALL = -1;
const REACH_NONE = -2;

const SPAN_NAMES: Readonly<Record<string, string>> = {
  missing: 'not known',
  down: 'down',
  paused: 'paused',
  quarantined: 'quarantined',
  drained: 'drained',
  outage: 'exchange down',
  disk: 'disk trouble',
  clock: 'clock trouble',
};

/** The steps between labels, which make them round. */
const TICK_STEPS_MS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000,
  900_000, 1_800_000, 3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000, 172_800_000, 604_800_000,
];
const SHORTEST_VIEW_MS = 10;

/** The stretch of time that is shown, in milliseconds after the beginning of the whole. */
class View {
  readonly wholeMs: number;
  fromMs = 0;
  toMs: number;

  constructor(wholeMs: number) {
    this.wholeMs = Math.max(SHORTEST_VIEW_MS, wholeMs);
    this.toMs = this.wholeMs;
  }

  get lengthMs(): number {
    return this.toMs - this.fromMs;
  }

  get isWhole(): boolean {
    return this.lengthMs >= this.wholeMs;
  }

  /** Shows this stretch, but never more than the whole, and never nothing. */
  show(fromMs: number, toMs: number): void {
    const length = Math.min(this.wholeMs, Math.max(SHORTEST_VIEW_MS, toMs - fromMs));
    const middle = (fromMs + toMs) / 2;
    this.fromMs = Math.min(Math.max(0, middle - length / 2), this.wholeMs - length);
    this.toMs = this.fromMs + length;
  }

  all(): void {
    this.show(0, this.wholeMs);
  }

  /** Shows `factor` times as much time; `atMs` stays where it is. */
  zoom(factor: number, atMs: number): void {
    const length = Math.min(this.wholeMs, Math.max(SHORTEST_VIEW_MS, this.lengthMs * factor));
    const share = (atMs - this.fromMs) / this.lengthMs;
    this.show(atMs - share * length, atMs + (1 - share) * length);
  }

  move(ms: number): void {
    this.show(this.fromMs + ms, this.toMs + ms);
  }
}

/** Returns the ticks of the axis, about every `wantedPx`. */
function tickStepMs(view: View, widthPx: number, wantedPx: number): number {
  const least = (view.lengthMs * wantedPx) / Math.max(1, widthPx);
  return TICK_STEPS_MS.find((step) => step >= least) ?? Math.ceil(least / 604_800_000) * 604_800_000;
}

/** Returns a time as exactly as a step needs: 22:40, 22:40:01, 22:40:01.250, or the date of a day. In UTC. */
function tickText(ms: number, stepMs: number): string {
  const iso = new Date(ms).toISOString();
  if (stepMs >= 86_400_000 || (stepMs >= 60_000 && iso.endsWith('T00:00:00.000Z'))) return iso.slice(5, 10);
  if (stepMs >= 60_000) return iso.slice(11, 16);
  return stepMs >= 1_000 ? iso.slice(11, 19) : iso.slice(11, 23);
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23);
}
