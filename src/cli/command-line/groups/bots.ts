import { Option } from 'commander';
import { DEFAULT_PRIORITY, PRIORITIES, UNITS } from '../../../terms.ts';
import type { Terminal } from '../../terminal/terminal.ts';
import type { NoncedCommand } from '../nonced-command.ts';
import { parseCount, parseDuration } from '../option-values.ts';
import { accountOption, socketOption } from '../shared-options.ts';

/** Adds the commands that a bot or a script calls. */
export function addBots(nonced: NoncedCommand, terminal: Terminal): void {
  nonced
    .command('exec')
    .description(
      'run a program that holds the exclusive call, with the nonce in NONCED_NONCE; exit as the program does',
    )
    .argument('<command...>', 'the program and its arguments, after --')
    .addOption(accountOption())
    .addOption(new Option('--priority <priority>', 'who goes first').choices(PRIORITIES).default(DEFAULT_PRIORITY))
    .addOption(new Option('--unit <unit>', 'refuse a nonce of any other unit').choices(UNITS))
    .option('--wait <duration>', 'give up if the call is not granted within this time', parseDuration)
    .addOption(
      new Option('--max-hold <duration>', 'then send TERM, 5 s later KILL, and exit with 75')
        .argParser(parseDuration)
        .default(60_000, '60s'),
    )
    .option(
      '--own-clock',
      'the program makes its own nonces from the clock: wait until the sequence is not ahead of it',
      false,
    )
    .option('--label <text>', 'what the call is for; status shows it')
    .addOption(socketOption())
    .passThroughOptions()
    .addExamples(
      ['nonced exec --account MASTER -- sh -c \'echo "$NONCED_NONCE"\''],
      ['nonced exec --account MASTER --own-clock --max-hold 30s -- kraken balance'],
    )
    .action(async (command, options) => (await import('../../commands/exec.ts')).exec(command, options, terminal));

  nonced
    .command('nonce')
    .description('print the next nonce, without exclusivity: for callers that put their calls in order themselves')
    .addOption(accountOption())
    .option('-n, --count <n>', 'print this many consecutive nonces, one a line', parseCount, 1)
    .addOption(socketOption())
    .addExamples(['nonced nonce'], ['nonced nonce --account USER:alice --count 3'])
    .action(async (options) => (await import('../../commands/nonce.ts')).nonce(options, terminal));
}
