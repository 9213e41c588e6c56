import { Argument, Option } from 'commander';
import { parsePath } from './option-values.ts';

// Options and operands that several commands share. Each command gets its own object.

export const socketOption = () =>
  new Option('--socket <path>', "the daemon's socket")
    .env('NONCED_SOCKET')
    .default(undefined, 'where a daemon is found');

export const stateDirOption = () => new Option('--state-dir <dir>', 'where the state is kept').argParser(parsePath);

export const runtimeDirOption = () => new Option('--runtime-dir <dir>', 'where the sockets are').argParser(parsePath);

export const configOption = () =>
  new Option(
    '--config <file>',
    'pacing, sequences and exchanges of the accounts (see docs/configuration.md)',
  ).argParser(parsePath);

export const jsonOption = (what = 'print JSON, for scripts') => new Option('--json', what).default(false);

export const accountOption = () => new Option('-a, --account <name>', 'label of the API key').default('default');

export const accountArgument = () => new Argument('<account>', 'label of the API key');
