#!/usr/bin/env node
import { CommanderError } from 'commander';
import { EXIT } from '../errors.ts';
import { program } from './command-line/program.ts';
import { fail } from './terminal/output.ts';

// A reader that has seen enough, such as head(1), is no error of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

try {
  await program().parseAsync();
} catch (error) {
  // Commander has said what is wrong already; help and version are no errors.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage;
  else fail(error);
}
