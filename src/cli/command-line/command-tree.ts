import type { Argument, Command, Option } from 'commander';
import { type Example, NoncedCommand } from './nonced-command.ts';

/** What may stand for a value, as far as anybody can know without asking: this is what a shell offers. */
export type Takes =
  | { readonly kind: 'file' | 'directory' | 'program' | 'anything' }
  | { readonly kind: 'choice'; readonly choices: readonly string[] };

export interface TreeOption {
  /** As it is typed, the short form first: `['-a', '--account']`. */
  readonly names: readonly string[];
  /** As --help writes it: `-a, --account <name>`. */
  readonly flags: string;
  readonly description: string;
  /** The same, with choices, default and environment variable. */
  readonly fullDescription: string;
  /** Undefined: it takes no value. */
  readonly value: { readonly name: string; readonly takes: Takes } | undefined;
}

export interface TreeOperand {
  readonly name: string;
  readonly fullDescription: string;
  readonly takes: Takes;
}

/** A command as --help shows it, and those below it. */
export interface TreeCommand {
  /** Without the program's name, which is what the root has: `['systemd', 'install']`. */
  readonly path: readonly string[];
  /** The heading that --help lists it below. */
  readonly group: string;
  /** What may follow it: `[options] <account>`. */
  readonly usage: string;
  readonly description: string;
  readonly options: readonly TreeOption[];
  readonly operands: readonly TreeOperand[];
  readonly commands: readonly TreeCommand[];
  readonly examples: readonly Example[];
  readonly notes: string;
}

/** All that is not hidden of a command, read off the objects that --help is written from. */
export function treeOf(command: Command): TreeCommand {
  return branchOf(command, [], []);
}

/** The command, those below it, and those below them. */
export function allOf(tree: TreeCommand): readonly TreeCommand[] {
  return [tree, ...tree.commands.flatMap(allOf)];
}

function branchOf(command: Command, path: readonly string[], siblings: readonly string[]): TreeCommand {
  const help = command.createHelp();
  const below = help.visibleCommands(command);
  const names = below.map((sub) => sub.name());
  return {
    path,
    group: command.helpGroup().replace(/:$/, ''),
    usage: command.usage(),
    description: command.description(),
    options: help.visibleOptions(command).map((option) => ({
      names: [option.short, option.long].filter((name) => name !== undefined),
      flags: option.flags,
      description: option.description,
      fullDescription: help.optionDescription(option),
      value:
        option.required || option.optional
          ? { name: placeholderOf(option), takes: takesOf(placeholderOf(option), option) }
          : undefined,
    })),
    operands: command.registeredArguments.map((argument) => ({
      name: argument.name(),
      fullDescription: help.argumentDescription(argument),
      // The command `help` is commander's own, and its operand one of the commands beside it.
      takes: command.name() === 'help' ? choiceOf(siblings) : takesOf(argument.name(), argument),
    })),
    commands: below.map((sub) => branchOf(sub, [...path, sub.name()], names)),
    examples: command instanceof NoncedCommand ? command.examples : [],
    notes: command instanceof NoncedCommand ? command.notes : '',
  };
}

/** The word between the angle brackets. */
function placeholderOf(option: Option): string {
  return /[<[]([^>\]]+)[>\]]/.exec(option.flags)?.[1] ?? '';
}

/** A placeholder says what may stand there: `<file>`, `<path>`, `<dir>`, and `<command...>` for a program of the host. */
function takesOf(placeholder: string, { argChoices }: Option | Argument): Takes {
  if (argChoices !== undefined) return choiceOf(argChoices);
  switch (placeholder) {
    case 'file':
    case 'path':
      return { kind: 'file' };
    case 'dir':
      return { kind: 'directory' };
    case 'command':
      return { kind: 'program' };
    default:
      return { kind: 'anything' };
  }
}

function choiceOf(choices: readonly string[]): Takes {
  return { kind: 'choice', choices };
}
