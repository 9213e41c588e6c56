/** The characters that are drawn besides letters and digits. */
export interface Glyphs {
  /** From nothing to the highest. */
  readonly bars: readonly string[];
  /** Marks where a text was cut off. */
  readonly cut: string;
  readonly upDown: string;
}

export const UNICODE: Glyphs = { bars: [...'▁▂▃▄▅▆▇█'], cut: '…', upDown: '↑↓' };
/** For a terminal without UTF-8. */
export const ASCII: Glyphs = { bars: [...'_.:-=+*#'], cut: '~', upDown: 'up/down' };

/** Returns a bar for each value, relative to the highest, and a blank for an unknown one. */
export function sparkline(values: readonly (number | undefined)[], { bars }: Glyphs): string {
  const highest = Math.max(0, ...values.map((value) => value ?? 0));
  const top = bars.length - 1;
  return values
    .map((value) => {
      if (value === undefined) return ' ';
      // A small value must not look like none.
      return bars[value <= 0 ? 0 : Math.max(1, Math.round((value / highest) * top))];
    })
    .join('');
}
