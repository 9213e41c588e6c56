import { Option } from 'commander';
import type { Terminal } from '../../terminal/terminal.ts';
import type { NoncedCommand } from '../nonced-command.ts';
import { addRenamed } from '../old-names.ts';
import { parseInterval, parseListed, parseMoment } from '../option-values.ts';
import { accountArgument, jsonOption, socketOption, stateDirOption } from '../shared-options.ts';

/** Adds the commands that show what happens and why. None of them changes anything. */
export function addLook(nonced: NoncedCommand, terminal: Terminal): void {
  nonced
    .command('status')
    .description('show what is unusual and what to do about it, who holds what, who waits, and where the nonces are')
    .option('--all', 'leave nothing out, however many accounts there are', false)
    .addOption(new Option('--watch [interval]').hideHelp())
    .addOption(jsonOption())
    .addOption(
      new Option(
        '--check',
        'print one line for monitoring, and exit with 0 (fine), 1 (look soon), 2 (look now) or 3 (not permitted to look)',
      )
        .default(false)
        .conflicts('json'),
    )
    .addOption(socketOption())
    .addExamples(
      ['nonced status'],
      ['nonced status --json'],
      ['nonced status --check', 'for Nagios, Icinga and others'],
    )
    .action(async (options) => (await import('../../commands/status.ts')).status(options, terminal));

  nonced
    .command('top')
    .description('show live what the daemon does: who holds and waits, calls a second, how long they take')
    .addOption(new Option('--interval <duration>', 'how often to look').argParser(parseInterval).default(1_000, '1s'))
    .addOption(socketOption())
    .addExamples(['nonced top'], ['nonced top --interval 5s | tee top.log'])
    .addNotes('Press h in it to see what the keys do.')
    .action(async (options) => (await import('../../commands/top.ts')).top(options, terminal));

  nonced
    .command('why')
    .description("show an account's last calls, and the probable cause of a rejected nonce")
    .addArgument(accountArgument())
    .addOption(new Option('-n, --count <n>', 'how many calls to list, at most 100').argParser(parseListed).default(20))
    .addOption(jsonOption())
    .addOption(socketOption())
    .addExamples(['nonced why MASTER'], ['nonced why MASTER -n 100 --json'])
    .action(async (account, options) => (await import('../../commands/why.ts')).why(account, options, terminal));

  const timeline = nonced
    .command('timeline')
    .description('make an HTML page of who waited, who held a lease, what was rejected and what happened meanwhile')
    .addOption(
      new Option('--since <time>', 'where it begins: 10m ago, or a time such as 2026-11-28T22:40Z')
        .argParser(parseMoment)
        .default({ kind: 'ago', ms: 600_000 }, '10m'),
    )
    .addOption(new Option('--until <time>', 'where it ends').argParser(parseMoment).default(undefined, 'now'))
    .option('-a, --account <name...>', 'show only these')
    .addOption(new Option('--by <rows>', 'one row for each').choices(['account', 'process']).default('account'));
  addRenamed(
    timeline,
    new Option(
      '--call-log <file>',
      'read the file that nonced serve --call-log has written; the daemon need not run',
    ).default(undefined, "the daemon's memory"),
    { flag: '--journal' },
  )
    .addOption(new Option('-o, --output <file>', 'write the page to this file').default(undefined, 'standard output'))
    .addOption(jsonOption('print what the page would show as JSON, for scripts'))
    .addOption(socketOption())
    .addExamples(
      ['nonced timeline --since 10m > incident.html'],
      ['nonced timeline --since 2h --call-log /var/log/nonced/calls.jsonl -o incident.html'],
      ['nonced timeline --account MASTER --by process --json'],
    )
    .addNotes(`The daemon remembers the last 1,000 calls since it started; a call log holds more.
The page needs no network.`)
    .action(async (options) => (await import('../../commands/timeline.ts')).timeline(options, terminal));

  nonced
    .command('metrics')
    .description("print, write or serve the daemon's metrics in the text format of Prometheus")
    .addOption(
      new Option('--output <file>', 'replace this file in one step, for the textfile collector').conflicts('listen'),
    )
    .option('--listen <address>', 'serve scrapes on a loopback address of this host, or on a Unix socket')
    .addOption(socketOption())
    .addExamples(
      ['nonced metrics'],
      ['nonced metrics --output /var/lib/prometheus/node-exporter/nonced.prom'],
      ['nonced metrics --listen 127.0.0.1:9464', 'http://127.0.0.1:9464/metrics'],
      ['nonced metrics --listen /run/nonced-metrics.sock'],
    )
    .addNotes('docs/metrics.md explains every metric, and comes with a dashboard and alerts.')
    .action(async (options) => (await import('../../commands/metrics.ts')).metrics(options, terminal));

  nonced
    .command('doctor')
    .description('test what usually keeps a bot from getting nonces; changes nothing')
    .argument('[user]', 'test as this user; any user but yourself needs root')
    .addOption(
      new Option('--socket <path>', "the daemon's socket").default(undefined, 'where a client of that user looks'),
    )
    .addOption(stateDirOption())
    .addOption(jsonOption())
    .addExamples(['nonced doctor', 'as you'], ['sudo nonced doctor trader', 'as the user whose bot fails'])
    .addNotes(`Exits with 0 (all is well), 1 (warnings), 2 (something is broken), or 77 if testing
as that user needs root.`)
    .action(async (user, options) => (await import('../../commands/doctor.ts')).doctor(user, options, terminal));
}
