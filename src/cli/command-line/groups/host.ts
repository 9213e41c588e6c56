import { Option } from 'commander';
import { UNITS } from '../../../terms.ts';
import type { Terminal } from '../../terminal/terminal.ts';
import type { NoncedCommand } from '../nonced-command.ts';
import { addRenamed } from '../old-names.ts';
import { parseCallLogSize } from '../option-values.ts';
import { configOption, jsonOption, runtimeDirOption, stateDirOption } from '../shared-options.ts';
import { addState } from './state.ts';

/** Adds the commands that make a host the authority over its nonces. */
export function addHost(nonced: NoncedCommand, terminal: Terminal): void {
  addServe(nonced, terminal);
  addState(nonced, terminal);
  addSystemd(nonced, terminal);
}

function addServe(nonced: NoncedCommand, terminal: Terminal): void {
  const serve = nonced
    .command('serve')
    .description('run the daemon')
    .addOption(stateDirOption())
    .addOption(runtimeDirOption())
    .addOption(configOption().default(undefined, "the service's /etc/nonced/config.json, if there is one"))
    .option('--check-config', 'say what is wrong with the configuration, and exit', false)
    .option('--separate', 'run beside a running service, as another authority for other keys', false)
    .addOption(
      new Option('--log-level <level>', 'log this severity and above')
        .choices(['error', 'warn', 'info', 'debug'])
        .default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'lines for people, or one JSON object a line')
        .choices(['text', 'json'])
        .default('text'),
    );
  addRenamed(
    serve,
    new Option('--call-log <file>', 'write every call that ends to this file, for nonced timeline')
      .env('NONCED_CALL_LOG')
      .default(undefined, 'none is kept'),
    { flag: '--journal', variable: 'NONCED_JOURNAL' },
  );
  addRenamed(
    serve,
    new Option('--call-log-size <size>', 'begin a new file at this size; the last one is kept as FILE.1')
      .argParser(parseCallLogSize)
      .env('NONCED_CALL_LOG_SIZE')
      .default(2 ** 24, '16M'),
    { flag: '--journal-size', variable: 'NONCED_JOURNAL_SIZE' },
  );
  serve
    .addExamples(
      ['nonced serve'],
      ['nonced serve --state-dir ./state --runtime-dir ./run'],
      ['nonced serve --config ./nonced.json --check-config'],
      ['nonced serve --call-log ./calls.jsonl'],
    )
    .addNotes(`SIGHUP reads the configuration again. A bad one changes nothing, and the log says what is
wrong with it. SIGHUP also opens the call log again, so that the file can be moved away.`)
    .action(async (options) => (await import('../../commands/serve.ts')).serve(options, terminal));
}

function addSystemd(nonced: NoncedCommand, terminal: Terminal): void {
  const systemd = nonced
    .command('systemd')
    .description('make nonced a systemd service of this host')
    .addExamples(
      ['sudo nonced systemd install', 'install, start, or bring up to date'],
      ['sudo nonced systemd install --copy', 'the same, from copies of Node and nonced that no upgrade touches'],
      ['nonced systemd status', 'what is installed and how it is doing'],
      ['sudo nonced systemd uninstall', 'remove all but the state'],
    );
  const copy = (what: string) => new Option('--copy', what).default(false);

  systemd
    .command('install')
    .description('write the units, user, group and first state, and start the service; or bring all of it up to date')
    .addOption(copy('run the service from copies of this Node and this package in /usr/local/lib/nonced/VERSION'))
    .addOption(new Option('--unit <unit>', 'unit of a first state; it can never be changed').choices(UNITS))
    .option('--floor <nonce>', 'a first state begins at this nonce or above; left out or now, at the clock')
    .addOption(jsonOption())
    .addExamples(
      ['sudo nonced systemd install'],
      ['sudo nonced systemd install --unit ms', 'for keys that sign with milliseconds (13 digits)'],
      ['sudo nonced systemd install --copy', 'if Node lies under /home (nvm), or is upgraded without asking'],
    )
    .action(async (options) => (await import('../../commands/systemd.ts')).install(options, terminal));

  systemd
    .command('uninstall')
    .description('stop the service and remove all but its state')
    .addOption(jsonOption())
    .addExamples(['sudo nonced systemd uninstall'])
    .action(async (options) => (await import('../../commands/systemd.ts')).uninstall(options, terminal));

  systemd
    .command('status')
    .description('show what is installed and how it is doing; exit with 69 if bots would find no daemon')
    .addOption(jsonOption())
    .addExamples(['nonced systemd status'], ['nonced systemd status --json'])
    .action(async (options) => (await import('../../commands/systemd.ts')).status(options, terminal));

  systemd
    .command('print')
    .description('print the files that install would write')
    .addOption(copy('as with install --copy'))
    .addExamples(['nonced systemd print'])
    .action(async (options) => (await import('../../commands/systemd.ts')).print(options, terminal));

  systemd
    .command('rollback')
    .description('go back to the version that was installed before; again, and it goes forward again')
    .addOption(jsonOption())
    .addExamples(['sudo nonced systemd rollback'])
    .action(async (options) => (await import('../../commands/systemd.ts')).rollback(options, terminal));
}
