import { quote } from '../../protocol/quote.ts';

/** What is wrong with a configuration, and where. The message says the fact, then the fix. */
export interface Problem {
  /** The keys that lead there; empty for the file as a whole. */
  readonly path: readonly string[];
  readonly message: string;
}

/** Returns one line, such as `accounts["USER:*"].pacing: the message`. */
export function describeProblem({ path, message }: Problem): string {
  return path.length === 0 ? message : `${describePath(path)}: ${message}`;
}

function describePath(path: readonly string[]): string {
  const steps = path.map((key) => {
    if (/^[A-Za-z_$][\w$]{0,69}$/.test(key)) return `.${key}`;
    return `[${/^[ -~]{0,70}$/.test(key) ? JSON.stringify(key) : quote(key)}]`;
  });
  return steps.join('').replace(/^\./, '');
}

/** Returns what was probably meant by `word`, as the end of a message: the nearest of `known`, or else all of them. */
export function suggestion(word: string, known: readonly string[]): string {
  const nearest = known
    .map((candidate) => ({ candidate, distance: editDistance(plain(word), plain(candidate)) }))
    .filter(({ candidate, distance }) => distance <= Math.max(1, Math.floor(candidate.length / 3)))
    .sort((a, b) => a.distance - b.distance)[0];
  if (nearest !== undefined) return `did you mean ${quote(nearest.candidate)}?`;
  const listed = known.slice(0, MOST_LISTED).map((candidate) => quote(candidate));
  return `use one of ${listed.join(', ')}${known.length > MOST_LISTED ? ', …' : ''}`;
}

const MOST_LISTED = 8;
/** A word is compared up to here; no name is longer. */
const LONGEST_WORD = 64;

/** Returns a spelling in which `per_second` equals `perSecond`. */
const plain = (word: string): string =>
  word
    .slice(0, LONGEST_WORD)
    .toLowerCase()
    .replaceAll(/[\s_-]/g, '');

/** Returns how many characters must be added, left out or changed to turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
