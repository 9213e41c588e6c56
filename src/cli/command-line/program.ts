import { CommanderError } from 'commander';
import { EXIT } from '../../errors.ts';
import { VERSION } from '../../version.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { addBots } from './groups/bots.ts';
import { addDevelop } from './groups/develop.ts';
import { addHost } from './groups/host.ts';
import { addLook } from './groups/look.ts';
import { addOperate } from './groups/operate.ts';
import { addOldState } from './groups/state.ts';
import { NoncedCommand } from './nonced-command.ts';

/** Runs a command, and prints what went wrong. The exit code is in the terminal. */
export async function runCommand(args: readonly string[], terminal: Terminal): Promise<void> {
  try {
    await program(terminal).parseAsync(args, { from: 'user' });
  } catch (error) {
    // Commander has already said what is wrong; help and version are not errors.
    if (error instanceof CommanderError) terminal.exitCode = error.exitCode === 0 ? 0 : EXIT.usage;
    else terminal.fail(error);
  }
}

/**
 * Returns the whole command line, as data: nothing runs before it is parsed. A command's code is loaded when it runs.
 */
export function program(terminal: Terminal): NoncedCommand {
  const nonced = new NoncedCommand('nonced')
    .description('One strictly increasing nonce, and one call at a time, for every exchange API key of this host.')
    .version(VERSION, '-V, --version')
    .showHelpAfterError('(add --help for what there is)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => terminal.print(text),
      writeErr: (text) => terminal.say(text),
      outputError: (text, write) => write(text.replace(/^error:/, 'nonced:')),
    })
    .exitOverride()
    .enablePositionalOptions()
    .addExamples(
      ['nonced serve', 'run the daemon'],
      ['nonced nonce --account MASTER', 'print the next nonce'],
      ['nonced exec --account MASTER -- ./order.sh', 'run a program that holds the exclusive call'],
      ['nonced status', 'what is unusual, who holds what, and who waits'],
      ['sudo nonced doctor trader', "what keeps that user's bots from getting nonces"],
    )
    .addNotes(`Exit codes are those of sysexits: 64 usage, 69 no daemon, 70 defect, 74 I/O error,
75 busy or timed out, 77 no permission, 78 bad configuration or state.`);

  // In the order of the help. A command belongs to the group whose heading was set last.
  nonced.commandsGroup('Bots:');
  addBots(nonced, terminal);
  nonced.commandsGroup('Look:');
  addLook(nonced, terminal);
  nonced.commandsGroup('Operate:');
  addOperate(nonced, terminal);
  nonced.commandsGroup('Host:');
  addHost(nonced, terminal);
  nonced.commandsGroup('Develop:');
  addDevelop(nonced, terminal, () => program(terminal));
  nonced.helpCommand(true);
  addOldState(nonced, terminal);
  return nonced;
}
