import { UNNAMED } from '../../core/nonces/assignments.ts';
import { planForget } from '../../core/operator/forget-plan.ts';
import { EXIT, ExitError } from '../../errors.ts';
import { rolledBack } from '../../store/notes/state-note.ts';
import { readStateFile } from '../../store/state/state-file.ts';
import type { StateFileContents } from '../../store/state/state-format.ts';
import { directories } from '../directories.ts';
import { confirm } from '../terminal/confirm.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { notedStateOf } from './noted.ts';
import { changeOffline, stateOf } from './offline-state.ts';

export interface ForgetOptions {
  readonly yes: boolean;
  readonly unnamed: boolean;
  readonly stateDir?: string;
  readonly json: boolean;
}

/** How many accounts are named before the question. */
const NAMED = 10;

/** Removes accounts whose labels are not used any more from the state, while no daemon runs. */
export async function forget(pattern: string, options: ForgetOptions, terminal: Terminal): Promise<void> {
  const { stateDir, runtimeDir } = directories(options, terminal.env);
  // Looked at before anything is locked or made.
  stateOf(readStateFile(stateDir), stateDir);
  await changeOffline(stateDir, readStateFile, (found) => {
    const contents = stateOf(found, stateDir);
    refuseRolledBack(contents, stateDir, runtimeDir);
    const { state, ...identity } = contents;
    const { forgotten, staying, state: after } = planForget(state, pattern, options.unnamed);
    for (const { account, why } of staying) terminal.warn(`account ${account} stays: ${why}`);
    if (forgotten.length === 0) {
      throw new ExitError(EXIT.usage, `no account ${pattern} can be forgotten; nonced state inspect --json lists them`);
    }
    if (!options.json) {
      const more = forgotten.length > NAMED ? ` and ${forgotten.length - NAMED} more` : '';
      terminal.printLine(`to forget: ${forgotten.slice(0, NAMED).join(', ')}${more}`);
      terminal.printLine(
        'Their sequences stay, so a label that comes back gets higher nonces than before, as long as the configuration ' +
          'puts it on the same sequence. If you put it on another one meanwhile, it draws there.',
      );
    }
    if (after.accounts.has(UNNAMED)) {
      terminal.warn(
        'accounts that were too many to be named have drawn too, and until they are forgotten no new account gets a name. ' +
          'Add --unnamed if the configuration puts all that is left of them on the same sequence as before',
      );
    }
    if (!options.yes) confirm('Go on?', terminal);
    const done = () => {
      const left = after.accounts.size;
      if (options.json) terminal.printJson({ stateDir, forgotten, staying, left });
      else terminal.printLine(`${forgotten.length} forgotten, ${left} left`);
    };
    // Later than what the last daemon of this boot has noted, or the next one would take it for a state that was put back.
    return { identity: { ...identity, epoch: identity.epoch + 1 }, state: after, done };
  });
}

/** I2: with a later epoch, the next start could not tell an account that was forgotten from one that a copy never knew. */
function refuseRolledBack(found: StateFileContents, stateDir: string, runtimeDir: string): void {
  const noted = notedStateOf(found, stateDir, runtimeDir);
  const what = noted === undefined ? undefined : rolledBack(found, noted);
  if (what === undefined) return;
  throw new ExitError(
    EXIT.config,
    `the state in ${stateDir} is older than the one that was in use in this boot: it ${what}; nothing was forgotten. ` +
      'Start the daemon first: it says how to repair the state',
  );
}
