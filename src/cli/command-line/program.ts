import { VERSION } from '../../version.ts';
import { addBots } from './groups/bots.ts';
import { addDevelop } from './groups/develop.ts';
import { addHost } from './groups/host.ts';
import { addLook } from './groups/look.ts';
import { addOperate } from './groups/operate.ts';
import { addOldState } from './groups/state.ts';
import { NoncedCommand } from './nonced-command.ts';

/**
 * Returns the whole command line, as data: nothing runs before it is parsed. A command's code is loaded when it runs.
 */
export function program(): NoncedCommand {
  const nonced = new NoncedCommand('nonced')
    .description('One strictly increasing nonce, and one call at a time, for every exchange API key of this host.')
    .version(VERSION, '-V, --version')
    .showHelpAfterError('(add --help for what there is)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error:/, 'nonced:')) })
    .exitOverride()
    .enablePositionalOptions()
    .addExamples(
      ['nonced serve', 'run the daemon'],
      ['nonced nonce --account MASTER', 'print the next nonce'],
      ['nonced exec --account MASTER -- ./order.sh', 'run a program that holds the exclusive call'],
      ['nonced status', 'what is unusual, who holds what, and who waits'],
      ['sudo nonced doctor trader', "what keeps that user's bots from getting nonces"],
    )
    .addNotes(`Exit codes are those of sysexits: 64 usage, 69 no daemon, 70 lost ownership, 74 I/O error,
75 busy or timed out, 77 no permission, 78 bad configuration or state.`);

  // In the order of the help. A command belongs to the group whose heading was set last.
  nonced.commandsGroup('Bots:');
  addBots(nonced);
  nonced.commandsGroup('Look:');
  addLook(nonced);
  nonced.commandsGroup('Operate:');
  addOperate(nonced);
  nonced.commandsGroup('Host:');
  addHost(nonced);
  nonced.commandsGroup('Develop:');
  addDevelop(nonced, program);
  nonced.helpCommand(true);
  addOldState(nonced);
  return nonced;
}
