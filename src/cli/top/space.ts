import { formatDuration } from '../../durations.ts';
import type { Glyphs } from './glyphs.ts';

/** How a text is coloured; on a terminal without colours it stays as it is. */
export type Paint = (style: 'bold' | 'dim' | 'red' | 'yellow' | 'cyan', text: string) => string;

/** Where lines are laid out: they are no longer than `columns`, and no more than `rows`. */
export interface Space {
  readonly columns: number;
  readonly rows: number;
  readonly paint: Paint;
  readonly glyphs: Glyphs;
}

/** A wait or a hold; `-` where there was none. */
export function durationText(ms: number | undefined): string {
  return ms === undefined ? '-' : formatDuration(ms);
}

/** Calls a second; `-` where that is not known yet. */
export function rateText(perSecond: number | undefined): string {
  return perSecond === undefined ? '-' : perSecond.toFixed(perSecond < 9.95 ? 1 : 0);
}
