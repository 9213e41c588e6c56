/** What is drawn besides letters and digits. */
export interface Glyphs {
  /** From nothing at all to the highest. */
  readonly bars: readonly string[];
  /** Where a text was cut off. */
  readonly cut: string;
  readonly upDown: string;
}

export const UNICODE: Glyphs = { bars: [...'▁▂▃▄▅▆▇█'], cut: '…', upDown: '↑↓' };
/** For a terminal that does not take UTF-8. */
export const ASCII: Glyphs = { bars: [...'_.:-=+*#'], cut: '~', upDown: 'up/down' };

/** A bar for each value, as high as it is beside the highest; a blank for what is not known. */
export function sparkline(values: readonly (number | undefined)[], { bars }: Glyphs): string {
  const highest = Math.max(0, ...values.map((value) => value ?? 0));
  const top = bars.length - 1;
  return values
    .map((value) => {
      if (value === undefined) return ' ';
      // Little is more than nothing.
      return bars[value <= 0 ? 0 : Math.max(1, Math.round((value / highest) * top))];
    })
    .join('');
}
