import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../clock.ts';
import { formatDuration } from '../../durations.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { ActName, Timing } from '../../rehearsal/acts.ts';
import type { ExclusionPolicy, Unit } from '../../terms.ts';
import { realExchangeIn } from '../rehearsal/environment.ts';
import { runRehearsal } from '../rehearsal/rehearsal.ts';
import { type RehearsalReport, reportLines } from '../rehearsal/report-text.ts';
import type { Terminal } from '../terminal/terminal.ts';

export interface RehearseOptions {
  readonly acts: readonly ActName[];
  readonly scale: number;
  readonly maintenance: number;
  readonly limit: number;
  readonly accounts: readonly string[];
  readonly exclusive: ExclusionPolicy;
  readonly unit?: Unit;
  readonly config?: string;
  readonly ownClock: boolean;
  readonly restart: boolean;
  readonly passEnv?: readonly string[];
  readonly keep: boolean;
  readonly json: boolean;
}

const FINDINGS = 1;
/** What a shell exits with for a program that Ctrl-C has ended. */
const INTERRUPTED = 130;
const RESTART_AFTER_MS = 1_000;
const LAST_LINES = 10;

/** Runs a bot against an exchange and a daemon of its own, makes both fail, and reports what the bot did. */
export async function rehearse(
  command: readonly string[],
  options: RehearseOptions,
  terminal: Terminal,
): Promise<void> {
  const real = realExchangeIn(command);
  if (real !== undefined) {
    throw new ExitError(
      EXIT.usage,
      `${real} is a real exchange; let the bot take the address from NONCED_REHEARSAL_URL or KRAKEN_URL`,
    );
  }
  const { acts, accounts, exclusive, unit, config, ownClock, scale, restart, passEnv = [], keep, json } = options;
  const clock = systemClock();
  const dir = mkdtempSync(join(tmpdir(), 'nonced-rehearsal-'));
  const startMs = clock.monotonicMs();
  try {
    const report = await runRehearsal(
      {
        command,
        acts,
        timing: timingOf(options),
        accounts,
        exclusive,
        unit,
        config,
        isOwnClock: ownClock,
        restartAfterMs: restart ? RESTART_AFTER_MS * scale : undefined,
        passed: passEnv,
      },
      {
        dir,
        clock,
        variables: terminal.env,
        ...untilSignal(),
        say: (text) => terminal.say(`${formatDuration(clock.monotonicMs() - startMs).padStart(10)}  ${text}\n`),
      },
    );
    if (json) terminal.printJson(keep ? { ...report, dir } : report);
    else print(report, join(dir, 'bot.log'), terminal);
    terminal.exitCode = report.findings.length > 0 ? FINDINGS : report.ending === 'interrupted' ? INTERRUPTED : 0;
  } finally {
    if (keep) terminal.warn(`kept: ${dir}`);
    else rmSync(dir, { recursive: true, force: true });
  }
}

function timingOf({ scale, maintenance, limit }: RehearseOptions): Timing {
  return {
    calmMs: 10_000 * scale,
    refusedMs: 10_000 * scale,
    maintenanceMs: maintenance,
    slowMs: 1_500 * scale,
    settleMs: 3_000 * scale,
    limitMs: limit,
  };
}

/**
 * Lets the first signal end the rehearsal in good order, with its report, and the second one end everything at once.
 */
function untilSignal(): { readonly interrupt: AbortSignal; readonly kill: AbortSignal } {
  const [interrupt, kill] = [new AbortController(), new AbortController()];
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => (interrupt.signal.aborted ? kill : interrupt).abort());
  }
  return { interrupt: interrupt.signal, kill: kill.signal };
}

function print(report: RehearsalReport, botLog: string, terminal: Terminal): void {
  for (const line of reportLines(report, terminal.paint)) terminal.printLine(line);
  if (!report.findings.some(({ kind }) => kind === 'ended' || kind === 'no-call' || kind === 'not-recovered')) return;
  // Nothing that the bot has printed may control the terminal.
  const said = readFileSync(botLog, 'utf8')
    .replaceAll(/[^\P{C}\n\t]/gu, '?')
    .trimEnd();
  if (said === '') return;
  terminal.printLine();
  terminal.printLine('The last lines that the bot printed:');
  for (const line of said.split('\n').slice(-LAST_LINES)) terminal.printLine(`  ${line}`);
}
