import * as v from 'valibot';
import type { Figures } from './figures.ts';
import type { Heat } from './load.ts';

const positive = v.pipe(v.number(), v.finite(), v.minValue(0));
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const text = v.pipe(v.string(), v.nonEmpty());
const round = v.pipe(v.number(), v.integer(), v.minValue(1));

const HEATS = ['cold', 'hot'] as const satisfies readonly Heat[];

const figures = {
  operations: v.pipe(count, v.minValue(1)),
  perSecond: positive,
  meanUs: positive,
  medianUs: positive,
  p99Us: positive,
} satisfies Record<keyof Figures, unknown>;

/** What a run leaves behind: everything that the tables and the chart are made of. */
export const RESULTS = v.strictObject({
  format: v.literal(2),
  startedAt: v.pipe(v.string(), v.isoTimestamp()),
  machine: v.strictObject({
    processor: text,
    cores: count,
    memoryGiB: positive,
    kernel: text,
    /** Where the durable peers kept their state. */
    filesystem: text,
    node: text,
    /** Over the minute before the run. */
    loadAverage: v.pipe(v.number(), v.minValue(0)),
  }),
  settings: v.strictObject({
    rounds: count,
    /** Calls of each client process: the first, those up to the hot ones, and the hot ones. */
    coldCalls: count,
    warmUpCalls: count,
    hotCalls: count,
    atMostMs: positive,
    short: v.boolean(),
  }),
  peers: v.array(
    v.strictObject({
      name: text,
      title: text,
      isDurable: v.boolean(),
    }),
  ),
  /** Peers and works that were left out, with what to install. */
  skipped: v.array(v.strictObject({ what: text, why: text })),
  cells: v.array(
    v.strictObject({ case: text, peer: text, heat: v.picklist(HEATS), round, connections: count, ...figures }),
  ),
  memory: v.array(
    v.strictObject({
      connections: count,
      waiting: count,
      perConnectionKiB: v.number(),
      perWaiterKiB: v.number(),
    }),
  ),
  idle: v.array(
    v.strictObject({
      connections: count,
      seconds: positive,
      cpuPercent: positive,
      writtenBytes: count,
      residentMiB: positive,
    }),
  ),
  /** Of each round, the median of several. */
  start: v.array(v.strictObject({ bareMs: positive, noncedMs: positive })),
});

export type Results = v.InferOutput<typeof RESULTS>;
export type Cell = Results['cells'][number];

/** Reads what a run has written. Throws if it is anything else. */
export function readResults(json: string): Results {
  return v.parse(RESULTS, JSON.parse(json));
}
