/** Something that happened, for a person who must understand a failure. */
export interface Happening {
  readonly atMs: number;
  readonly what: string;
  readonly detail: object | undefined;
}

export class History {
  readonly #happenings: Happening[] = [];
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  note(what: string, detail?: object): void {
    this.#happenings.push({ atMs: this.#nowMs(), what, detail });
  }

  lines(): string[] {
    return this.#happenings.map(({ atMs, what, detail }) => {
      const time = (atMs / 1000).toFixed(3).padStart(9);
      return `${time}  ${what}${detail === undefined ? '' : ` ${inShort(detail)}`}`;
    });
  }
}

function inShort(detail: object): string {
  const text = JSON.stringify(detail, (key, value: unknown) =>
    key === 'session' ? String(value).slice(0, 6) : typeof value === 'bigint' ? `${value}` : value,
  );
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
