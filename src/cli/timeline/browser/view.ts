// Scripts of one page, without modules: they share one scope, and are run in the order that assets.ts gives them.

type PageData = import('../page-data.ts').PageData;

/** What a mark or a span concerns where it is not one row, as page-data.ts has it. */
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

/** Of milliseconds, so that labels are round. */
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

  /** Shows this stretch, as far as there is one: never more than the whole, never nothing. */
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

/** A mark of the axis about every `wantedPx`. */
function tickStepMs(view: View, widthPx: number, wantedPx: number): number {
  const least = (view.lengthMs * wantedPx) / Math.max(1, widthPx);
  return TICK_STEPS_MS.find((step) => step >= least) ?? Math.ceil(least / 604_800_000) * 604_800_000;
}

/** As exact as a step needs it: 22:40, 22:40:01, 22:40:01.250; a day by its date. In UTC. */
function tickText(ms: number, stepMs: number): string {
  const iso = new Date(ms).toISOString();
  if (stepMs >= 86_400_000 || (stepMs >= 60_000 && iso.endsWith('T00:00:00.000Z'))) return iso.slice(5, 10);
  if (stepMs >= 60_000) return iso.slice(11, 16);
  return stepMs >= 1_000 ? iso.slice(11, 19) : iso.slice(11, 23);
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23);
}

/** 850 ms, 4.2 s, 3 min 5 s, 2 h 10 min */
function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1_000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
