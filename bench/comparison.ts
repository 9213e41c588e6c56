import { median } from './figures.ts';
import type { Heat } from './load.ts';
import type { Cell, Results } from './results.ts';

/** Of one figure over the rounds. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

type Figure = 'perSecond' | 'meanUs' | 'medianUs' | 'p99Us';

/** Undefined where nothing was measured. */
export function spread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}

/** What a peer did under a load, over the rounds. */
export function absolute(results: Results, where: Where, figure: Figure): Spread | undefined {
  return spread(cellsOf(results, where).map((cell) => cell[figure]));
}

/** How often one figure contains another: of each round first, so that what disturbs a whole round cancels out. */
export function ratio(results: Results, figure: Figure, one: Where, other: Where): Spread | undefined {
  const others = cellsOf(results, other);
  return spread(
    cellsOf(results, one).flatMap((cell) => {
      const beside = others.find(({ round }) => round === cell.round);
      return beside === undefined ? [] : [cell[figure] / beside[figure]];
    }),
  );
}

/** Which cells are meant: one for each round. */
export interface Where {
  readonly case: string;
  readonly peer: string;
  /** Default hot. */
  readonly heat?: Heat;
}

export function cellsOf({ cells }: Results, where: Where): readonly Cell[] {
  const { heat = 'hot' } = where;
  return cells.filter((cell) => cell.case === where.case && cell.peer === where.peer && cell.heat === heat);
}
