import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { NO_POLICIES, type Policies } from '../../core/accounts/policies.ts';
import { describeProblem, startingState } from '../../core/operator/policy-plan.ts';
import type { DurableState } from '../../core/ports.ts';
import { EXIT, ExitError } from '../../errors.ts';
import { stateCommand } from '../../store/directories.ts';
import { readStateFile } from '../../store/state/state-file.ts';
import type { Host } from '../terminal/terminal.ts';

/** Where the configuration is. The service's file may be missing: then nothing is configured. */
export interface ConfigurationFile {
  readonly path: string;
  readonly mayBeMissing: boolean;
}

/** Returns the file that was asked for, or else the service's, or else undefined. */
export function configurationFile(asked: string | undefined, env: Host['env']): ConfigurationFile | undefined {
  if (asked !== undefined) return { path: asked, mayBeMissing: false };
  const directory = env['CONFIGURATION_DIRECTORY'];
  return directory ? { path: join(directory, 'config.json'), mayBeMissing: true } : undefined;
}

/** Reads the configuration. Rejects with ExitError if it is bad: then none of it is in effect. */
export async function readConfiguration(file: ConfigurationFile | undefined): Promise<Policies> {
  if (file === undefined || (file.mayBeMissing && isMissing(file.path))) return NO_POLICIES;
  // The library for the schema is slow to load, and a daemon without a configuration should not wait for it.
  const { readPolicyFile } = await import('../../daemon/configuration/policy-file.ts');
  return readPolicyFile(file.path);
}

/**
 * Returns true only if nothing is there. A link that leads nowhere, or a directory that may not be entered, is a
 * mistake.
 */
function isMissing(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    return false;
  }
}

export interface Checked {
  /** Whether there is a file at all. */
  readonly isThere: boolean;
  readonly problems: readonly string[];
  /** Why the state was not looked at; undefined if it was. */
  readonly unseen: string | undefined;
}

/** Returns what is wrong with the configuration, by itself and, if the state may be read, for that state. */
export async function problemsOf(file: ConfigurationFile, stateDir: string): Promise<Checked> {
  const { path } = file;
  const { checkPolicyFile } = await import('../../daemon/configuration/policy-file.ts');
  const isThere = !(file.mayBeMissing && isMissing(path));
  const problems = isThere ? checkPolicyFile(path) : [];
  if (problems.length > 0) return { isThere, problems, unseen: undefined };
  const policies = await readConfiguration(file);
  const found = stateOf(stateDir);
  if ('unseen' in found) return { isThere, problems, unseen: found.unseen };
  if ('problem' in found) return { isThere, problems: [found.problem], unseen: undefined };
  const starting = startingState(found.state, policies);
  if (!('problem' in starting)) return { isThere, problems, unseen: undefined };
  const lines = describeProblem(starting, (args) => stateCommand(args, stateDir));
  return { isThere, problems: lines.map((line) => `${path}: ${line}`), unseen: undefined };
}

/** Returns the state; or why this user cannot see one, or why no daemon would start with it. */
function stateOf(
  stateDir: string,
): { readonly state: DurableState } | { readonly unseen: string } | { readonly problem: string } {
  try {
    const reading = readStateFile(stateDir, 'anyone');
    return reading.kind === 'state' ? { state: reading.state.state } : { unseen: 'there is no state.json' };
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    if (error.exitCode === EXIT.noPermission) return { unseen: 'only its owner may read it' };
    return { problem: error.message };
  }
}
