import { Option } from 'commander';
import { note } from '../terminal/output.ts';
import type { NoncedCommand } from './nonced-command.ts';

// The names of 0.1. They work until 0.3, each use of one is told in one line, and no help and no completion lists them.

/** Says on standard error what `old` is called now. */
export function noteOldName(old: string, current: string): void {
  note(oldNameText(old, current));
}

function oldNameText(old: string, current: string): string {
  return `'${old}' is now '${current}'; the old name goes in the next version`;
}

export interface RenamedOptions {
  /** What to tell of the old names that were used, a line each. */
  readonly oldNames: readonly string[];
}

/** What the option was called, on the command line and in the environment. */
interface OldOption {
  readonly flag: string;
  readonly variable?: string;
}

/**
 * Adds an option that had another name, by both. A value that was given by the old name counts as one that was given by
 * the new, unless there is one of those too: what is typed goes before the environment, and then the new name before the
 * old. The command's options get `oldNames`.
 */
export function addRenamed(command: NoncedCommand, current: Option, old: OldOption): NoncedCommand {
  const hidden = new Option(current.flags.replace(current.long ?? '', old.flag)).hideHelp();
  if (current.parseArg !== undefined) hidden.argParser(current.parseArg);
  if (old.variable !== undefined) hidden.env(old.variable);
  const [name, oldName] = [current.attributeName(), hidden.attributeName()];
  return command
    .addOption(current)
    .addOption(hidden)
    .hook('preAction', () => {
      const [source, oldSource] = [name, oldName].map((key) => command.getOptionValueSource(key));
      const names: string[] = command.getOptionValue('oldNames') ?? [];
      if (isGiven(oldSource)) {
        const [was, is] = oldSource === 'env' ? [hidden.envVar, current.envVar] : [hidden.long, current.long];
        names.push(oldNameText(was ?? '', is ?? ''));
        if (rankOf(oldSource) > rankOf(source)) command.setOptionValue(name, command.getOptionValue(oldName));
      }
      command.setOptionValue('oldNames', names);
    });
}

/** Where a value came from, by weight. */
const GIVEN: readonly (string | undefined)[] = ['env', 'cli'];

const isGiven = (source: string | undefined): boolean => GIVEN.includes(source);
const rankOf = (source: string | undefined): number => GIVEN.indexOf(source);
