import { quote } from '../../protocol/quote.ts';
import type { Problem } from './policy-problem.ts';

export type ParsedJson =
  | { readonly kind: 'json'; readonly value: unknown; readonly duplicates: readonly Problem[] }
  /** The text is not JSON. */
  | { readonly kind: 'broken'; readonly problem: Problem };

const SPACE = /[ \t\n\r]*/y;
const STRING = /"[^"\\]*(?:\\[\s\S][^"\\]*)*"/y;
const OTHER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
/** A configuration is four levels deep. */
const DEEPEST = 32;

/**
 * Parses JSON and finds what JSON.parse silently accepts, a key that is twice in one object: of two policies for one
 * account it would forget the first. Says by line and column where a text stops being JSON.
 */
export function parseJson(text: string): ParsedJson {
  const scan = new JsonScan(text);
  try {
    scan.document();
    return { kind: 'json', value: JSON.parse(text) as unknown, duplicates: scan.duplicates };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { kind: 'broken', problem: { path: [], message: error.message } };
  }
}

/** Walks over a text of JSON without making values of it. Throws SyntaxError where it is not JSON. */
class JsonScan {
  readonly duplicates: Problem[] = [];
  readonly #text: string;
  readonly #path: string[] = [];
  #at = 0;
  /** How far the lines have been counted, and the number of the line there. */
  #counted = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    this.#value();
    this.#skip(SPACE);
    if (this.#at < this.#text.length) throw this.#broken('there is text after the end');
  }

  #value(): void {
    this.#skip(SPACE);
    if (this.#path.length > DEEPEST) throw this.#broken('nested deeper than any configuration is');
    if (this.#skip('{')) this.#members();
    else if (this.#skip('[')) this.#elements();
    else if (this.#string() === undefined && !this.#skip(OTHER)) throw this.#broken('a value is missing');
  }

  #members(): void {
    const lineOf = new Map<string, number>();
    if (this.#isNext('}')) return;
    do {
      this.#skip(SPACE);
      const from = this.#at;
      const key = this.#string();
      if (key === undefined) throw this.#broken('a key in double quotes is missing');
      this.#path.push(key);
      const line = this.#lineOf(from);
      const before = lineOf.get(key);
      if (before === undefined) lineOf.set(key, line);
      else this.#duplicate(before, line);
      if (!this.#isNext(':')) throw this.#broken('a colon after the key is missing');
      this.#value();
      this.#path.pop();
    } while (this.#isNext(','));
    if (!this.#isNext('}')) throw this.#broken('a comma or a closing brace is missing');
  }

  #elements(): void {
    if (this.#isNext(']')) return;
    this.#path.push('');
    do this.#value();
    while (this.#isNext(','));
    this.#path.pop();
    if (!this.#isNext(']')) throw this.#broken('a comma or a closing bracket is missing');
  }

  #duplicate(before: number, line: number): void {
    const where = before === line ? `in line ${line}` : `in line ${before} and in line ${line}`;
    this.duplicates.push({
      path: [...this.#path],
      message: `is there twice, ${where}, and only the last would count; keep one`,
    });
  }

  #string(): string | undefined {
    const from = this.#at;
    if (!this.#skip(STRING)) return undefined;
    try {
      return JSON.parse(this.#text.slice(from, this.#at)) as string;
    } catch {
      this.#at = from;
      throw this.#broken('a text in quotes contains a line break, a control character or an unknown escape');
    }
  }

  #isNext(mark: string): boolean {
    this.#skip(SPACE);
    return this.#skip(mark);
  }

  #skip(what: RegExp | string): boolean {
    if (typeof what === 'string') {
      if (!this.#text.startsWith(what, this.#at)) return false;
      this.#at += what.length;
      return true;
    }
    if (!this.#isAhead(what)) return false;
    this.#at = what.lastIndex;
    return true;
  }

  #isAhead(what: RegExp): boolean {
    what.lastIndex = this.#at;
    return what.test(this.#text);
  }

  #broken(fact: string): SyntaxError {
    const column = this.#at - this.#text.lastIndexOf('\n', this.#at - 1);
    return new SyntaxError(`line ${this.#lineOf(this.#at)}, column ${column}: ${fact}${this.#fix()}`);
  }

  /** Returns what is usually wrong with a text that goes on like this one. */
  #fix(): string {
    const rest = this.#text.slice(this.#at, this.#at + 20);
    if (rest === '') return '; the file ends too early';
    if (/^(\/[/*]|#)/.test(rest)) return '; JSON has no comments, so use a "$comment" key';
    if (rest.startsWith("'")) return '; JSON takes double quotes only';
    if (rest.startsWith('"') && !this.#isAhead(STRING)) return '; the quote that opens here is never closed';
    if (/^[}\]]/.test(rest) && /,[ \t\n\r]*$/.test(this.#text.slice(0, this.#at))) {
      return '; remove the comma before the closing bracket';
    }
    return `; it goes on with ${quote(rest.split(/[\r\n]/)[0])}`;
  }

  /** `at` never goes back, so the lines are counted once. */
  #lineOf(at: number): number {
    for (; this.#counted < at; this.#counted++) if (this.#text[this.#counted] === '\n') this.#line++;
    return this.#line;
  }
}
