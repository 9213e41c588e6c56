import { Argument, Option } from 'commander';
import { EXCLUSION_POLICIES } from '../../../terms.ts';
import type { Terminal } from '../../terminal/terminal.ts';
import type { NoncedCommand } from '../nonced-command.ts';
import { parseDuration, parseNonce, parseSequence, parseSpan } from '../option-values.ts';
import { accountArgument, jsonOption, socketOption } from '../shared-options.ts';

/** Adds the commands that change the running daemon, through its operator's socket. */
export function addOperate(nonced: NoncedCommand, terminal: Terminal): void {
  nonced
    .command('pause')
    .description('refuse all calls of an account until it is resumed, also after a restart (operator)')
    .addArgument(accountArgument())
    .addOption(jsonOption())
    .addOption(socketOption())
    .addExamples(['nonced pause USER:alice'])
    .action(async (account, options) => (await import('../../commands/pause.ts')).pause(account, options, terminal));

  nonced
    .command('resume')
    .description('let a paused account go on, and close its circuit breaker (operator)')
    .addArgument(accountArgument())
    .addOption(jsonOption())
    .addOption(socketOption())
    .addExamples(['nonced resume USER:alice'])
    .action(async (account, options) => (await import('../../commands/pause.ts')).resume(account, options, terminal));

  nonced
    .command('drain')
    .description('let only urgent calls begin, and say when it is safe to reboot (operator)')
    .option('--wait <duration>', 'give up after this time, with exit code 75; the drain stays on', parseDuration)
    .addOption(new Option('--off', 'let all calls begin again').default(false).conflicts('wait'))
    .addOption(jsonOption())
    .addOption(socketOption())
    .addExamples(['nonced drain --wait 2m && systemctl reboot'], ['nonced drain --off'])
    .action(async (options) => (await import('../../commands/drain.ts')).drain(options, terminal));

  nonced
    .command('advance')
    .description('raise a sequence for good; this cannot be undone (operator)')
    .addOption(
      new Option('--to <nonce>', 'make the next nonce at least this; now accepts the clock as it is').argParser(
        parseNonce,
      ),
    )
    .addOption(new Option('--by <duration>', 'raise by this much time').argParser(parseSpan).conflicts('to'))
    .option(
      '-a, --account <name>',
      'raise this account alone: it first gets a sequence of its own, and the others stay where they are',
    )
    .addOption(
      new Option('--sequence <name>', 'which sequence')
        .argParser(parseSequence)
        .default(undefined, 'default')
        .conflicts('account'),
    )
    .option('--yes', 'allow up to 24 h ahead of the clock instead of 1 h', false)
    .option('--force', 'allow any distance ahead of the clock', false)
    .addOption(jsonOption())
    .addOption(socketOption())
    .addExamples(
      ['nonced advance --account MASTER --to 1790000000000000000', 'one key has seen higher nonces'],
      ['nonced advance --to now', 'the clock jumped, and it is right'],
      ['nonced advance --by 5m', 'every account on the default sequence'],
    )
    .action(async (options) => (await import('../../commands/advance.ts')).advance(options, terminal));

  nonced
    .command('set-exclusive')
    .description('choose what is exclusive, at once and for good (operator)')
    .addArgument(
      new Argument('<policy>', 'one lane for all accounts, one for each, or none').choices(EXCLUSION_POLICIES),
    )
    .addOption(jsonOption())
    .addOption(socketOption())
    .addExamples(['nonced set-exclusive account'])
    .action(async (policy, options) =>
      (await import('../../commands/set-exclusive.ts')).setExclusive(policy, options, terminal),
    );
}
