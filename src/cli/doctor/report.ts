import type { Paint } from '../terminal/terminal.ts';
import type { Check, Finding, Mark } from './finding.ts';

const WORD: Readonly<Record<Mark, string>> = { ok: 'ok', skipped: 'skipped', warning: 'warning', failed: 'FAILED' };
const STYLE = { ok: 'green', skipped: 'dim', warning: 'yellow', failed: 'red' } as const;
const MARK_WIDTH = 7;
const NAME_WIDTH = 9;
const INDENT = ' '.repeat(MARK_WIDTH + 2 + NAME_WIDTH + 2);

/** Returns a line for each check, with the cure below it if it found something, and a count at the end. */
export function linesOf(checks: readonly Check[], paint: Paint): string[] {
  const width = Math.max(...checks.map(({ check }) => check.length), NAME_WIDTH);
  const lines = checks.flatMap((check) => {
    if (check.findings.length === 0) return [headLine(check.mark, check.check.padEnd(width), check.says, paint)];
    return check.findings.flatMap((finding, index) => [
      headLine(finding.mark, (index === 0 ? check.check : '').padEnd(width), finding.fact, paint),
      ...cureOf(finding, paint),
    ]);
  });
  return [...lines, '', countOf(checks)];
}

function headLine(mark: Mark, name: string, text: string, paint: Paint): string {
  return `${paint(STYLE[mark], WORD[mark].padEnd(MARK_WIDTH))}  ${name}  ${printable(text)}`;
}

function cureOf({ fix, commands }: Finding, paint: Paint): string[] {
  return [`${INDENT}${fix}`, ...commands.map((command) => `${INDENT}  ${paint('bold', printable(command))}`)];
}

/** Returns text that cannot control the terminal: paths, names of processes and answers may come from anywhere. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '\uFFFD');
}

function countOf(checks: readonly Check[]): string {
  const count = (mark: Mark) => checks.filter((check) => check.mark === mark).length;
  const parts = (['failed', 'warning', 'ok', 'skipped'] as const)
    .filter((mark) => mark === 'ok' || count(mark) > 0)
    .map((mark) => `${count(mark)} ${WORD[mark]}${mark === 'warning' && count(mark) > 1 ? 's' : ''}`);
  return parts.join(', ');
}
