#!/usr/bin/env node
import { CommanderError } from 'commander';
import { EXIT } from '../errors.ts';
import { program } from './command-line/program.ts';
import { fail } from './terminal/output.ts';

// A reader that stops early, such as head(1), is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

try {
  await program().parseAsync();
} catch (error) {
  // Commander has already said what is wrong; help and version are not errors.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage;
  else fail(error);
}
