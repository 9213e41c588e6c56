import { formatDuration } from '../../durations.ts';
import { mustRecover } from '../../rehearsal/acts.ts';
import type { Finding } from '../../rehearsal/findings.ts';
import type { ActReport } from '../../rehearsal/judge.ts';
import { tableOf, wrapped } from '../terminal/table.ts';
import type { Paint } from '../terminal/terminal.ts';

export interface RehearsalReport {
  /** `interrupted` by a signal; `gone`: the bot had ended; `unheard`: no call came. */
  readonly ending: 'complete' | 'interrupted' | 'gone' | 'unheard';
  readonly durationMs: number;
  readonly acts: readonly ActReport[];
  readonly findings: readonly Finding[];
  /** What a reader should know although it is not wrong. */
  readonly notes: readonly string[];
  readonly restarts: number;
}

const WIDTH = 100;

const ENDINGS: Readonly<Record<RehearsalReport['ending'], string>> = {
  complete: '',
  interrupted: ', interrupted',
  gone: ', and then the bot was gone',
  unheard: ', stopped because no call came',
};

/** Returns the report for people: one screen. */
export function reportLines(report: RehearsalReport, paint: Paint): string[] {
  const { ending, durationMs, acts, notes, restarts } = report;
  const again = restarts === 0 ? '' : `; the bot was started again ${restarts === 1 ? 'once' : `${restarts} times`}`;
  const lines = [
    `${acts.length} act${acts.length === 1 ? '' : 's'} in ${formatDuration(durationMs)}${ENDINGS[ending]}${again}`,
  ];
  if (acts.length > 0) lines.push('', ...actTable(acts));
  if (notes.length > 0) lines.push('', ...notes.map((note) => `note: ${note}`));
  lines.push('', ...verdictLines(report, paint));
  return lines;
}

function actTable(acts: readonly ActReport[]): string[] {
  return tableOf([
    ['ACT', 'calls', 'accepted', 'rejected', 'orders twice', 'no lease', 'overlaps', 'longest stall', 'back after'],
    ...acts.map((act) => [
      act.act,
      ...[act.calls, act.accepted, act.rejectedNonces, act.ordersTwice, act.withoutGrant, act.overlaps].map(String),
      formatDuration(act.longestStallMs),
      backAfter(act),
    ]),
  ]);
}

function backAfter({ act, happened, recoveredMs }: ActReport): string {
  if (!happened) return 'no call came';
  if (recoveredMs !== null) return formatDuration(recoveredMs);
  return mustRecover(act) ? 'never' : '-';
}

function verdictLines({ acts, findings, ending }: RehearsalReport, paint: Paint): string[] {
  if (findings.length === 0) {
    const seen = acts.reduce((sum, { calls }) => sum + calls, 0);
    return [
      ending === 'interrupted'
        ? 'Nothing wrong so far.'
        : paint(
            'green',
            `Nothing wrong: of ${seen} calls, none was rejected for its nonce, sent twice or made without a lease.`,
          ),
    ];
  }
  return [
    paint('red', findings.length === 1 ? '1 finding' : `${findings.length} findings`),
    ...findings.flatMap(({ fact, fix, acts }) => [
      ...wrapped(`${fact}${acts.length === 0 ? '' : ` (${acts.join(', ')})`}`, WIDTH, '! ', '  '),
      ...wrapped(fix, WIDTH, '  '),
    ]),
  ];
}
