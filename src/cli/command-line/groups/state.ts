import { Option } from 'commander';
import { UNITS } from '../../../terms.ts';
import type { Terminal } from '../../terminal/terminal.ts';
import type { NoncedCommand } from '../nonced-command.ts';
import { noteOldName } from '../old-names.ts';
import { parseCounter, parseNonce, parseSequence } from '../option-values.ts';
import { accountArgument, jsonOption, runtimeDirOption, stateDirOption } from '../shared-options.ts';

/** Adds the commands that work on the state while no daemon runs. */
export function addState(nonced: NoncedCommand, terminal: Terminal): void {
  const state = nonced
    .command('state')
    .description('read the state of this host, create or repair it, or move it to another host')
    .addExamples(
      ['nonced state inspect', 'read the state file'],
      ['nonced state init --floor now --unit ns', 'create a first state, in nanoseconds'],
      ['nonced state move OLD --to default', 'let an account draw from another sequence'],
      ['nonced state retire', 'on the old host: give up its authority'],
      ['nonced state adopt', 'on the new host: take it over'],
    );
  addStateCommands(state, terminal, false);

  state
    .command('move')
    .description('let an account draw from another sequence, for good; no configuration does that')
    .addArgument(accountArgument())
    .addOption(new Option('--to <sequence>', 'which sequence').argParser(parseSequence).makeOptionMandatory())
    .option('--yes', 'without asking', false)
    .option('--force', 'although that raises the sequence by more than 1 h ahead of the clock', false)
    .addOption(stateDirOption())
    .addOption(jsonOption())
    .addExamples(
      ['nonced state move OLD --to default'],
      ['sudo -u nonced nonced state move OLD --to default --state-dir /var/lib/nonced'],
    )
    .action(async (account, options) => (await import('../../state/move.ts')).move(account, options, terminal));

  state
    .command('forget')
    .description('make room in the state: forget accounts whose labels are not used any more')
    .argument('<account>', 'one label, or a beginning and a star: order-*')
    .option('--unnamed', 'also those that were too many to be named', false)
    .option('--yes', 'without asking', false)
    .addOption(stateDirOption())
    .addOption(jsonOption())
    .addExamples(["nonced state forget 'order-*'"])
    .action(async (pattern, options) => (await import('../../state/forget.ts')).forget(pattern, options, terminal));
}

/** Adds the same commands under their names of 0.1. Each says what it is called now, and none is listed. */
export function addOldState(nonced: NoncedCommand, terminal: Terminal): void {
  const others = new Set(nonced.commands);
  addStateCommands(nonced, terminal, true);
  for (const command of nonced.commands) {
    if (others.has(command)) continue;
    const name = command.name();
    command.hook('preAction', () => noteOldName(terminal, `nonced ${name}`, `nonced state ${name}`));
  }
}

function addStateCommands(parent: NoncedCommand, terminal: Terminal, hidden: boolean): void {
  parent
    .command('inspect', { hidden })
    .description('read the state file without a daemon')
    .addOption(stateDirOption())
    .addOption(jsonOption())
    .addExamples(['nonced state inspect'], ['sudo -u nonced nonced state inspect --state-dir /var/lib/nonced'])
    .action(async (options) => (await import('../../state/inspect.ts')).inspect(options, terminal));

  parent
    .command('init', { hidden })
    .description('write a first or repaired state; never lowers anything that can be read of an old one')
    .addOption(
      new Option('--floor <nonce>', 'the first nonce is at least this; now is the clock')
        .argParser(parseNonce)
        .makeOptionMandatory(),
    )
    .option('--sequence <name>', 'which sequence', parseSequence, 'default')
    .addOption(new Option('--unit <unit>', 'unit of a new sequence; it can never be changed').choices(UNITS))
    .option('--yes', 'allow up to 24 h ahead of the clock instead of 1 h', false)
    .option('--force', 'allow any distance ahead of the clock', false)
    .addOption(stateDirOption())
    .addOption(runtimeDirOption())
    .addOption(jsonOption())
    .addExamples(
      ['nonced state init --floor now --unit ns', 'a first state, in nanoseconds'],
      ['nonced state init --floor now --unit ms', 'a first state for keys that sign with milliseconds'],
      ['nonced state init --floor 1790000000000000000', 'raise or repair a state while no daemon runs'],
    )
    .action(async (options) => (await import('../../state/init.ts')).init(options, terminal));

  parent
    .command('retire', { hidden })
    .description('give up the authority of this host, to move it to another')
    .addOption(stateDirOption())
    .addExamples(['nonced state retire --state-dir /var/lib/nonced'])
    .action(async (options) => (await import('../../state/moving.ts')).retire(options, terminal));

  parent
    .command('adopt', { hidden })
    .description('take over the authority of a state that was retired on another host and copied here')
    .addOption(stateDirOption())
    .option('--force', 'although the other host was not retired: it is gone for good', false)
    .addOption(new Option('--counter-floor <n>', 'with --force: where counters go on').argParser(parseCounter))
    .addExamples(['nonced state adopt --state-dir /var/lib/nonced'])
    .action(async (options) => (await import('../../state/moving.ts')).adopt(options, terminal));
}
