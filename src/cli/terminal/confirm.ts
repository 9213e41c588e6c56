import { closeSync, openSync, readSync } from 'node:fs';
import { EXIT, ExitError } from '../../errors.ts';
import type { Terminal } from './terminal.ts';

/** Asks for a yes on the terminal. Throws ExitError if the answer is another one, or if there is no terminal to ask on. */
export function confirm(question: string, terminal: Terminal): void {
  if (!terminal.isInteractive) throw new ExitError(EXIT.usage, `${question} There is no terminal to ask on; add --yes`);
  terminal.print(`${question} [y/N] `);
  if (!/^y(es)?$/i.test(readLine().trim())) throw new ExitError(EXIT.usage, 'nothing was changed');
}

/** Reads from the terminal itself, which blocks, whatever standard input is. */
function readLine(): string {
  const tty = openSync('/dev/tty', 'r');
  try {
    const bytes = Buffer.alloc(256);
    return bytes.toString('utf8', 0, readSync(tty, bytes));
  } finally {
    closeSync(tty);
  }
}
