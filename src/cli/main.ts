#!/usr/bin/env node
import { runCommand } from './command-line/program.ts';
import { Terminal } from './terminal/terminal.ts';

// A reader that stops early, such as head(1), is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

await runCommand(process.argv.slice(2), new Terminal(process));
