import type { Argument, Command, Option } from 'commander';
import { type Example, NoncedCommand } from './nonced-command.ts';

/** What a value may be, as far as it is known before anything runs. A shell offers this. */
export type Takes =
  | { readonly kind: 'file' | 'directory' | 'program' | 'anything' }
  | { readonly kind: 'choice'; readonly choices: readonly string[] };

export interface TreeOption {
  /** As typed, the short form first: `['-a', '--account']`. */
  readonly names: readonly string[];
  /** As --help writes it: `-a, --account <name>`. */
  readonly flags: string;
  readonly description: string;
  /** The description with choices, default and environment variable. */
  readonly fullDescription: string;
  /** Undefined if it takes no value. */
  readonly value: { readonly name: string; readonly takes: Takes } | undefined;
}

export interface TreeOperand {
  readonly name: string;
  readonly fullDescription: string;
  readonly takes: Takes;
}

/** A command as --help shows it, with its subcommands. */
export interface TreeCommand {
  /** Without the program's name: `['systemd', 'install']`. Empty for the program itself. */
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

/** Returns everything about a command that is not hidden, read from the objects that --help is made of. */
export function treeOf(command: Command): TreeCommand {
  return branchOf(command, [], []);
}

/** Returns the command and all commands below it. */
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
      // commander adds the command `help`, whose operand is one of the commands beside it.
      takes: command.name() === 'help' ? choiceOf(siblings) : takesOf(argument.name(), argument),
    })),
    commands: below.map((sub) => branchOf(sub, [...path, sub.name()], names)),
    examples: command instanceof NoncedCommand ? command.examples : [],
    notes: command instanceof NoncedCommand ? command.notes : '',
  };
}

/** Returns the word between the brackets. */
function placeholderOf(option: Option): string {
  return /[<[]([^>\]]+)[>\]]/.exec(option.flags)?.[1] ?? '';
}

/** Returns what a placeholder stands for: `<file>`, `<path>`, `<dir>`, and `<command...>` for a program of the host. */
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
