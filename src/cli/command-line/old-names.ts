import { Option } from 'commander';
import type { Terminal } from '../terminal/terminal.ts';
import type { NoncedCommand } from './nonced-command.ts';

// The names of 0.1 work until 0.3. Each use of one is reported in one line, and no help and no completion lists them.

/** Says on standard error what `old` is called now. */
export function noteOldName(terminal: Terminal, old: string, current: string): void {
  terminal.note(oldNameText(old, current));
}

function oldNameText(old: string, current: string): string {
  return `'${old}' is now '${current}'; the next version removes the old name`;
}

export interface RenamedOptions {
  /** What to say about the old names that were used, a line each. */
  readonly oldNames: readonly string[];
}

/** What the option was called, on the command line and in the environment. */
interface OldOption {
  readonly flag: string;
  readonly variable?: string;
}

/**
 * Adds an option that had another name, under both names. A value that was given by the old name counts as if it had
 * been given by the new one. If both were given, what was typed wins over the environment, and then the new name over
 * the old. Adds `oldNames` to the options of the command.
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

/** Where a value came from; the later one wins. */
const GIVEN: readonly (string | undefined)[] = ['env', 'cli'];

const isGiven = (source: string | undefined): boolean => GIVEN.includes(source);
const rankOf = (source: string | undefined): number => GIVEN.indexOf(source);
