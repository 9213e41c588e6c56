import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';
import { exists, STATE_FILE } from './state-file.ts';

/**
 * Where a user's own state is depends on XDG_STATE_HOME, which a shell may set and cron does not. A second start that
 * finds no state would make one, and be a second authority for the same keys. So the place that the variable does not
 * lead to, in the home directory, has either the state or a sign of where it is.
 */
const SIGN_FILE = 'state-is-elsewhere';

export interface OwnPlaces {
  readonly stateDir: string;
  /** The place without XDG_STATE_HOME; undefined if the state is not in a place of the user's own. */
  readonly homeStateDir: string | undefined;
}

/** Throws ExitError if there is no state in `stateDir`, and this user has had one in the other place. Makes nothing. */
export function refuseSecondState({ stateDir, homeStateDir }: OwnPlaces): void {
  if (homeStateDir === undefined || exists(join(stateDir, STATE_FILE))) return;
  const other = stateDir === homeStateDir ? readSign(homeStateDir) : hasState(homeStateDir);
  if (other === undefined || other === stateDir) return;
  const way =
    stateDir === homeStateDir ? `as ${join(homeStateDir, SIGN_FILE)} says` : 'where XDG_STATE_HOME does not lead';
  throw new ExitError(
    EXIT.config,
    `there is no state in ${stateDir}, but this user has one in ${other}, ${way}, and two states for one key are worse ` +
      `than none; use that one: nonced serve --state-dir ${other}. Or, if no key is used with both, make another one: ` +
      `nonced state init --floor now --unit UNIT --state-dir ${stateDir}`,
  );
}

/** Leaves a sign in the home directory of a state that is elsewhere. Returns what went wrong, if anything. */
export function leaveSign({ stateDir, homeStateDir }: OwnPlaces): unknown {
  if (homeStateDir === undefined || homeStateDir === stateDir) return undefined;
  try {
    if (readSign(homeStateDir) === stateDir) return undefined;
    mkdirSync(homeStateDir, { recursive: true, mode: 0o700 });
    writeFileSync(join(homeStateDir, SIGN_FILE), `${stateDir}\n`, { mode: 0o600 });
    return undefined;
  } catch (error) {
    return error;
  }
}

function hasState(dir: string): string | undefined {
  return exists(join(dir, STATE_FILE)) ? dir : undefined;
}

function readSign(homeStateDir: string): string | undefined {
  try {
    return readFileSync(join(homeStateDir, SIGN_FILE), 'utf8').trimEnd() || undefined;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
