import { VERSION } from '../../version.ts';
import { examine } from '../doctor/examination.ts';
import { severityOf } from '../doctor/finding.ts';
import { judge } from '../doctor/judgement.ts';
import { linesOf } from '../doctor/report.ts';
import { subjectOf } from '../doctor/subject.ts';
import type { Terminal } from '../terminal/terminal.ts';

export interface DoctorOptions {
  /** If left out, the socket that a client of the user finds. */
  readonly socket?: string;
  readonly stateDir?: string;
  readonly json: boolean;
}

/**
 * Tests what is usually wrong, as `user` or as the user who runs it, and changes nothing. Exits with 0, 1 or 2, as
 * `status --check` does. Rejects with ExitError if nothing could be tested: 64 for an unknown user, 77 without root.
 */
export async function doctor(
  user: string | undefined,
  { socket, stateDir, json }: DoctorOptions,
  terminal: Terminal,
): Promise<void> {
  const subject = await subjectOf(user);
  const checks = judge(await examine(subject, { socket, stateDir, env: terminal.env }));
  terminal.exitCode = severityOf(checks);
  if (json) {
    terminal.printJson({
      version: VERSION,
      user: { name: subject.name, uid: subject.uid },
      severity: severityOf(checks),
      checks,
    });
    return;
  }
  terminal.printLine(`nonced doctor ${VERSION}, as ${subject.name} (uid ${subject.uid})`);
  terminal.printLine();
  for (const line of linesOf(checks, terminal.paint)) terminal.printLine(line);
}
