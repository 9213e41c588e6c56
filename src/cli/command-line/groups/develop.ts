import { Argument, Option } from 'commander';
import { ACTS } from '../../../rehearsal/acts.ts';
import { EXCLUSION_POLICIES, UNITS } from '../../../terms.ts';
import type { Terminal } from '../../terminal/terminal.ts';
import type { NoncedCommand } from '../nonced-command.ts';
import { parseAccounts, parseActs, parseDuration, parseScale, parseWords } from '../option-values.ts';
import { configOption, jsonOption } from '../shared-options.ts';

const SHELLS = ['bash', 'zsh'];

/**
 * Adds the commands for writing a bot. `whole` makes the whole command line, for the completions and the manual page.
 */
export function addDevelop(nonced: NoncedCommand, terminal: Terminal, whole: () => NoncedCommand): void {
  nonced
    .command('rehearse')
    .description('run your bot against an exchange and a daemon of its own that fail on purpose; report what it did')
    .argument('<command...>', 'the bot and its arguments, after --')
    .addOption(
      new Option('--acts <names>', `what to put it through: ${Object.keys(ACTS).join(', ')}`)
        .argParser(parseActs)
        .default(Object.keys(ACTS), 'all'),
    )
    .addOption(
      new Option('--scale <factor>', 'multiply all times, but the next two, by this').argParser(parseScale).default(1),
    )
    .addOption(
      new Option('--maintenance <duration>', 'how long the exchange answers 503')
        .argParser(parseDuration)
        .default(20_000, '20s'),
    )
    .addOption(
      new Option('--limit <duration>', 'how long to wait for a call, and for one that is accepted again')
        .argParser(parseDuration)
        .default(60_000, '60s'),
    )
    .addOption(
      new Option('--accounts <labels>', 'the accounts that get invented keys; KRAKEN_KEY is of the first')
        .argParser(parseAccounts)
        .default(['MASTER', 'USER:alice', 'USER:bob'], 'MASTER,USER:alice,USER:bob'),
    )
    .addOption(new Option('--exclusive <policy>', 'what is exclusive').choices(EXCLUSION_POLICIES).default('global'))
    .addOption(new Option('--unit <unit>', 'what the bot signs with').choices(UNITS))
    .addOption(configOption())
    .option('--own-clock', 'the bot runs under nonced exec --own-clock, and makes its own nonces', false)
    .option('--no-restart', 'do not start the bot again when it ends')
    .addOption(
      new Option('--pass-env <names>', 'pass these variables to the bot although they look like credentials').argParser(
        parseWords,
      ),
    )
    .option('--keep', 'keep the directory with the logs', false)
    .addOption(jsonOption('print the report as JSON, for scripts'))
    .passThroughOptions()
    .addExamples(
      ['nonced rehearse -- node ./bot.js'],
      ['nonced rehearse --acts hang,kill --keep -- ./bot.sh'],
      [
        'nonced rehearse -- sh -c \'exec ./bot --url "$NONCED_REHEARSAL_URL"\'',
        'a bot that takes the address as an option',
      ],
    )
    .addNotes(`The bot gets these variables:
  NONCED_REHEARSAL_URL, KRAKEN_URL  the address of the exchange
  NONCED_SOCKET                     the daemon
  KRAKEN_KEY, KRAKEN_SECRET         the first of the invented keys
  KRAKEN_KEYS                       a file with all of them
Variables that look like credentials are kept from it.

A BOT THAT IGNORES THE ADDRESS CALLS THE REAL EXCHANGE, and if it reads its real key from
a file, it does so with that key.

Exits with 0 if nothing was wrong, and with 1 if there are findings.`)
    .action(async (command, options) =>
      (await import('../../commands/rehearse.ts')).rehearse(command, options, terminal),
    );

  nonced
    .command('completion')
    .description('print a script that teaches a shell to complete this command line')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .addExamples(
      ['nonced completion bash | sudo tee /etc/bash_completion.d/nonced', 'for all users'],
      ['source <(nonced completion bash)', 'a line for ~/.bashrc'],
      ['source <(nonced completion zsh)', 'a line for ~/.zshrc, after compinit'],
    )
    .action(async (shell) => (await import('../../commands/completion.ts')).completion(shell, whole(), terminal));

  nonced
    .command('man', { hidden: true })
    .description('print the source of the manual page')
    .option('--markdown', 'print docs/commands.md', false)
    .addExamples(['nonced man | man -l -'])
    .action(async (options) => (await import('../../commands/man.ts')).man(whole(), options, terminal));
}
