import { formatDuration } from '../../durations.ts';
import type { Glyphs } from './glyphs.ts';

/** Colours a text; on a terminal without colours it stays as it is. */
export type Paint = (style: 'bold' | 'dim' | 'red' | 'yellow' | 'cyan', text: string) => string;

/** The space for lines: none longer than `columns`, and no more than `rows`. */
export interface Space {
  readonly columns: number;
  readonly rows: number;
  readonly paint: Paint;
  readonly glyphs: Glyphs;
}

/** Returns a wait or a hold; `-` if there was none. */
export function durationText(ms: number | undefined): string {
  return ms === undefined ? '-' : formatDuration(ms);
}

/** Returns calls a second; `-` if that is not known yet. */
export function rateText(perSecond: number | undefined): string {
  return perSecond === undefined ? '-' : perSecond.toFixed(perSecond < 9.95 ? 1 : 0);
}
