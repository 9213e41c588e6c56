import { VERSION } from '../../version.ts';
import { examine } from '../doctor/examination.ts';
import { severityOf } from '../doctor/finding.ts';
import { judge } from '../doctor/judgement.ts';
import { linesOf } from '../doctor/report.ts';
import { subjectOf } from '../doctor/subject.ts';
import { printJson, printLine } from '../terminal/output.ts';

export interface DoctorOptions {
  /** Left out: where a client of the user looks. */
  readonly socket?: string;
  readonly stateDir?: string;
  readonly json: boolean;
}

/**
 * Tests what is usually wrong, as `user` or whoever runs it, and changes nothing. Exits 0, 1 or 2, as `status --check`
 * does; rejects with ExitError where nothing could be tested: 64 for a user that is not there, 77 without root.
 */
export async function doctor(user: string | undefined, { socket, stateDir, json }: DoctorOptions): Promise<void> {
  const subject = await subjectOf(user);
  const checks = judge(await examine(subject, { socket, stateDir }));
  process.exitCode = severityOf(checks);
  if (json) {
    printJson({
      version: VERSION,
      user: { name: subject.name, uid: subject.uid },
      severity: severityOf(checks),
      checks,
    });
    return;
  }
  printLine(`nonced doctor ${VERSION}, as ${subject.name} (uid ${subject.uid})`);
  printLine();
  for (const line of linesOf(checks)) printLine(line);
}
