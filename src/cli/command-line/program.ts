import { Argument, Option } from 'commander';
import { ACTS } from '../../rehearsal/acts.ts';
import { DEFAULT_PRIORITY, EXCLUSION_POLICIES, PRIORITIES, UNITS } from '../../terms.ts';
import { VERSION } from '../../version.ts';
import { NoncedCommand } from './nonced-command.ts';
import {
  parseAccounts,
  parseActs,
  parseCount,
  parseCounter,
  parseDuration,
  parseInterval,
  parseJournalSize,
  parseListed,
  parseMoment,
  parseNonce,
  parseScale,
  parseSequence,
  parseSpan,
  parseWords,
} from './option-values.ts';

const SHELLS = ['bash', 'zsh'];

const socketOption = () =>
  new Option('--socket <path>', "the daemon's socket")
    .env('NONCED_SOCKET')
    .default(undefined, 'where a daemon is found');
const stateDirOption = () => new Option('--state-dir <dir>', 'where the state is kept');
const runtimeDirOption = () => new Option('--runtime-dir <dir>', 'where the sockets are');
const configOption = () =>
  new Option(
    '--config <file>',
    'what is known of the accounts: pacing, sequences, exchanges (see docs/configuration.md)',
  );
const accountOption = () => new Option('-a, --account <name>', 'label of the API key').default('default');
const accountArgument = () => new Argument('<account>', 'label of the API key');

/** The whole command line, as data: nothing runs before it is parsed. A command's code is loaded when it is run. */
export function program(): NoncedCommand {
  const nonced = new NoncedCommand('nonced')
    .description('One strictly increasing nonce, and one call at a time, for every exchange API key of this host.')
    .version(VERSION, '-V, --version')
    .showHelpAfterError('(add --help for what there is)')
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    .enablePositionalOptions()
    .addExamples(
      ['nonced serve', 'run the daemon'],
      ['nonced nonce --account MASTER', 'print the next nonce'],
      ['nonced exec --account MASTER -- ./order.sh', 'run a program that holds the exclusive call'],
      ['nonced status', 'who holds what, and who waits'],
    )
    .addNotes(`Exit codes are those of sysexits: 64 usage, 69 no daemon, 70 lost ownership, 74 I/O error, 75 busy or timed out,
77 no permission, 78 bad configuration or state.`);

  nonced
    .command('serve')
    .description('run the daemon')
    .addOption(stateDirOption())
    .addOption(runtimeDirOption())
    .addOption(configOption().default(undefined, "the service's /etc/nonced/config.json, where there is one"))
    .option('--check-config', 'say what is wrong with the configuration, and run nothing', false)
    .option('--separate', 'run beside a running service: another authority, for other keys', false)
    .addOption(
      new Option('--log-level <level>', 'least severity logged')
        .choices(['error', 'warn', 'info', 'debug'])
        .default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'lines for people, or a JSON object each')
        .choices(['text', 'json'])
        .default('text'),
    )
    .addOption(
      new Option('--journal <file>', 'write down every call that ends, for nonced timeline')
        .env('NONCED_JOURNAL')
        .default(undefined, 'none is kept'),
    )
    .addOption(
      new Option('--journal-size <size>', 'begin a new one at this size; the last one is kept as FILE.1')
        .argParser(parseJournalSize)
        .env('NONCED_JOURNAL_SIZE')
        .default(2 ** 24, '16M'),
    )
    .addExamples(
      ['nonced serve'],
      ['nonced serve --state-dir ./state --runtime-dir ./run'],
      ['nonced serve --config ./nonced.json --check-config'],
      ['nonced serve --journal ./calls.jsonl'],
    )
    .addNotes(
      `SIGHUP reads the configuration anew; a bad one changes nothing, and the log says what is wrong with it. It also lets go
of a journal that was moved away, and begins a new one.`,
    )
    .action(async (options) => (await import('../commands/serve.ts')).serve(options));

  nonced
    .command('nonce')
    .description('print the next nonce (without exclusivity: for callers who order their calls themselves)')
    .addOption(accountOption())
    .option('-n, --count <n>', 'print so many consecutive ones, a line each', parseCount, 1)
    .addOption(socketOption())
    .addExamples(['nonced nonce'], ['nonced nonce --account USER:alice --count 3'])
    .action(async (options) => (await import('../commands/nonce.ts')).nonce(options));

  nonced
    .command('exec')
    .description('run a program that holds the exclusive call, with NONCED_NONCE in its environment; exit as it does')
    .argument('<command...>', 'the program and its arguments, after --')
    .addOption(accountOption())
    .addOption(new Option('--priority <priority>', 'who goes first').choices(PRIORITIES).default(DEFAULT_PRIORITY))
    .addOption(new Option('--unit <unit>', 'refuse another unit than this').choices(UNITS))
    .option('--wait <duration>', 'give up after waiting so long for the grant', parseDuration)
    .addOption(
      new Option('--max-hold <duration>', 'then TERM, 5 s later KILL, exit 75')
        .argParser(parseDuration)
        .default(60_000, '60s'),
    )
    .option(
      '--own-clock',
      'the program makes its nonces from the clock: wait until the sequence is not ahead of it',
      false,
    )
    .option('--label <text>', 'shown by status')
    .addOption(socketOption())
    .passThroughOptions()
    .addExamples(
      ['nonced exec --account MASTER -- sh -c \'echo "$NONCED_NONCE"\''],
      ['nonced exec --account MASTER --own-clock --max-hold 30s -- kraken balance'],
    )
    .action(async (command, options) => (await import('../commands/exec.ts')).exec(command, options));

  nonced
    .command('status')
    .description('what is unusual and what to do about it, who holds what, who waits, where the nonces are')
    .option('--all', 'leave out nothing, however many accounts there are', false)
    .addOption(
      new Option('--watch [interval]', 'look again and again').argParser(parseInterval).preset('2s').conflicts('check'),
    )
    .option('--json', 'as JSON, for scripts; with --watch one document a line', false)
    .addOption(
      new Option('--check', 'one line for monitoring, and exit 0 (fine), 1 (look soon), 2 (look now), 3 (may not look)')
        .default(false)
        .conflicts('json'),
    )
    .addOption(socketOption())
    .addExamples(
      ['nonced status'],
      ['nonced status --watch', 'paint it anew every two seconds'],
      ['nonced status --watch 500ms'],
      ['nonced status --json'],
      ['nonced status --check', 'for Nagios, Icinga and others'],
    )
    .action(async (options) => (await import('../commands/status.ts')).status(options));

  nonced
    .command('top')
    .description('what the daemon does, live: who holds and waits, calls a second, how long they take')
    .addOption(new Option('--interval <duration>', 'how often it looks').argParser(parseInterval).default(1_000, '1s'))
    .addOption(socketOption())
    .addExamples(['nonced top'], ['nonced top --interval 5s | tee top.log'])
    .addNotes('In it, h says what the keys do.')
    .action(async (options) => (await import('../commands/top.ts')).top(options));

  nonced
    .command('metrics')
    .description('what the daemon counts, in the text format of Prometheus')
    .addOption(
      new Option('--output <file>', 'write it to this file, in one step, for the textfile collector').conflicts(
        'listen',
      ),
    )
    .option('--listen <address>', 'serve it to be scraped, at an address of this host or on a Unix socket')
    .addOption(socketOption())
    .addExamples(
      ['nonced metrics'],
      ['nonced metrics --output /var/lib/prometheus/node-exporter/nonced.prom'],
      ['nonced metrics --listen 127.0.0.1:9464', 'http://127.0.0.1:9464/metrics'],
      ['nonced metrics --listen /run/nonced-metrics.sock'],
    )
    .addNotes('Every metric is explained in docs/metrics.md, with a dashboard and alerts.')
    .action(async (options) => (await import('../commands/metrics.ts')).metrics(options));

  nonced
    .command('why')
    .description("an account's last calls, and what a rejected nonce was probably due to")
    .addArgument(accountArgument())
    .addOption(
      new Option('-n, --count <n>', 'how many calls are listed, at most 100').argParser(parseListed).default(20),
    )
    .option('--json', 'as JSON, for scripts', false)
    .addOption(socketOption())
    .addExamples(['nonced why MASTER'], ['nonced why MASTER -n 100 --json'])
    .action(async (account, options) => (await import('../commands/why.ts')).why(account, options));

  nonced
    .command('timeline')
    .description('a page (HTML) that shows who waited, who held a turn, what was rejected and what happened meanwhile')
    .addOption(
      new Option('--since <time>', 'from then on: 10m, or a time such as 2026-11-28T22:40Z')
        .argParser(parseMoment)
        .default({ kind: 'ago', ms: 600_000 }, '10m'),
    )
    .addOption(new Option('--until <time>', 'up to then').argParser(parseMoment).default(undefined, 'now'))
    .option('-a, --account <name...>', 'only these')
    .addOption(new Option('--by <rows>', 'a row for each').choices(['account', 'process']).default('account'))
    .addOption(
      new Option('--journal <file>', 'what nonced serve --journal has written; the daemon need not run').default(
        undefined,
        'the memory of the daemon',
      ),
    )
    .addOption(new Option('-o, --output <file>', 'write the page there').default(undefined, 'standard output'))
    .option('--json', 'what it would show, as JSON, for scripts', false)
    .addOption(socketOption())
    .addExamples(
      ['nonced timeline --since 10m > incident.html'],
      ['nonced timeline --since 2h --journal /var/log/nonced/calls.jsonl -o incident.html'],
      ['nonced timeline --account MASTER --by process --json'],
    )
    .addNotes('The daemon remembers the last 1,000 calls since its start, a journal more. The page needs no network.')
    .action(async (options) => (await import('../commands/timeline.ts')).timeline(options));

  nonced
    .command('pause')
    .description('stop one account, also over restarts (operator)')
    .addArgument(accountArgument())
    .option('--json', 'as JSON, for scripts', false)
    .addOption(socketOption())
    .addExamples(['nonced pause USER:alice'])
    .action(async (account, options) => (await import('../commands/pause.ts')).pause(account, options));

  nonced
    .command('resume')
    .description('let a paused account go on, and close its circuit breaker (operator)')
    .addArgument(accountArgument())
    .option('--json', 'as JSON, for scripts', false)
    .addOption(socketOption())
    .addExamples(['nonced resume USER:alice'])
    .action(async (account, options) => (await import('../commands/pause.ts')).resume(account, options));

  nonced
    .command('drain')
    .description('let only urgent calls begin, and say when it is safe to reboot (operator)')
    .option('--wait <duration>', 'give up after so long, with exit code 75; the drain stays on', parseDuration)
    .addOption(new Option('--off', 'let all calls begin again').default(false).conflicts('wait'))
    .option('--json', 'as JSON, for scripts', false)
    .addOption(socketOption())
    .addExamples(['nonced drain --wait 2m && systemctl reboot'], ['nonced drain --off'])
    .action(async (options) => (await import('../commands/drain.ts')).drain(options));

  nonced
    .command('advance')
    .description('raise a sequence for ever (operator); it cannot be undone')
    .addOption(
      new Option('--to <nonce>', 'the next nonce is at least this; now accepts the clock as it is').argParser(
        parseNonce,
      ),
    )
    .addOption(new Option('--by <duration>', 'raise by so much time').argParser(parseSpan).conflicts('to'))
    .option('-a, --account <name>', 'give this account a sequence of its own first: the others are not raised')
    .addOption(
      new Option('--sequence <name>', 'which sequence')
        .argParser(parseSequence)
        .default(undefined, 'default')
        .conflicts('account'),
    )
    .option('--yes', 'allow up to 24 h ahead of the clock instead of 1 h', false)
    .option('--force', 'allow any distance ahead of the clock', false)
    .option('--json', 'as JSON, for scripts', false)
    .addOption(socketOption())
    .addExamples(
      ['nonced advance --account MASTER --to 1790000000000000000', 'one key has seen higher nonces'],
      ['nonced advance --to now', 'the clock jumped, and is right'],
      ['nonced advance --by 5m', 'everybody on the default sequence'],
    )
    .action(async (options) => (await import('../commands/advance.ts')).advance(options));

  nonced
    .command('set-exclusive')
    .description('choose what is exclusive, while running and for good (operator)')
    .addArgument(
      new Argument('<policy>', 'one lane for all accounts, one for each, or none').choices(EXCLUSION_POLICIES),
    )
    .option('--json', 'as JSON, for scripts', false)
    .addOption(socketOption())
    .addExamples(['nonced set-exclusive account'])
    .action(async (policy, options) => (await import('../commands/set-exclusive.ts')).setExclusive(policy, options));

  nonced
    .command('doctor')
    .description('test what is usually wrong where a bot gets no nonces; changes nothing')
    .argument('[user]', 'as whom it is tested; another than you takes root')
    .addOption(
      new Option('--socket <path>', "the daemon's socket").default(undefined, 'where a client of the user looks'),
    )
    .addOption(stateDirOption())
    .option('--json', 'as JSON, for scripts', false)
    .addExamples(['nonced doctor', 'as you'], ['sudo nonced doctor trader', 'as a user whose bot fails'])
    .addNotes(
      'Exits 0 (all is well), 1 (warnings) or 2 (something is broken); 77 where testing as that user takes root.',
    )
    .action(async (user, options) => (await import('../commands/doctor.ts')).doctor(user, options));

  nonced
    .command('inspect')
    .description('read the state file without a daemon')
    .addOption(stateDirOption())
    .option('--json', 'as JSON, for scripts', false)
    .addExamples(['nonced inspect'], ['sudo -u nonced nonced inspect --state-dir /var/lib/nonced'])
    .action(async (options) => (await import('../state/inspect.ts')).inspect(options));

  nonced
    .command('init')
    .description('write a first or repaired state; never lowers what can be read of an old one')
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
    .option('--json', 'as JSON, for scripts', false)
    .addExamples(
      ['nonced init --floor now --unit ns', 'a first state, in nanoseconds'],
      ['nonced init --floor now --unit ms', 'a first state for keys that sign with milliseconds'],
      ['nonced init --floor 1790000000000000000', 'raise or repair a state while no daemon runs'],
    )
    .action(async (options) => (await import('../state/init.ts')).init(options));

  nonced
    .command('retire')
    .description('give up the authority of this host, to move it to another')
    .addOption(stateDirOption())
    .addExamples(['nonced retire --state-dir /var/lib/nonced'])
    .action(async (options) => (await import('../state/moving.ts')).retire(options));

  nonced
    .command('adopt')
    .description('take over here the authority of a state that was retired elsewhere and copied')
    .addOption(stateDirOption())
    .option('--force', 'although the other host was not retired: it is gone for good', false)
    .addOption(new Option('--counter-floor <n>', 'with --force: where counters go on').argParser(parseCounter))
    .addExamples(['nonced adopt --state-dir /var/lib/nonced'])
    .action(async (options) => (await import('../state/moving.ts')).adopt(options));

  addRehearse(nonced);
  addSystemd(nonced);
  addShell(nonced);
  return nonced;
}

function addShell(nonced: NoncedCommand): void {
  nonced
    .command('completion')
    .description('print a script that teaches a shell to complete the command line')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .addExamples(
      ['nonced completion bash | sudo tee /etc/bash_completion.d/nonced', 'for all users'],
      ['source <(nonced completion bash)', 'a line for ~/.bashrc'],
      ['source <(nonced completion zsh)', 'a line for ~/.zshrc, after compinit'],
    )
    .action(async (shell) => (await import('../commands/completion.ts')).completion(shell, program()));

  nonced
    .command('man', { hidden: true })
    .description('print the source of the manual page')
    .addExamples(['nonced man | man -l -'])
    .action(async () => (await import('../commands/man.ts')).man(program()));
}

function addRehearse(nonced: NoncedCommand): void {
  nonced
    .command('rehearse')
    .description('run your own bot against an exchange and a daemon of its own, which fail, and report what it did')
    .argument('<command...>', 'the bot and its arguments, after --')
    .addOption(
      new Option('--acts <names>', `what it is put through: ${Object.keys(ACTS).join(', ')}`)
        .argParser(parseActs)
        .default(Object.keys(ACTS), 'all'),
    )
    .addOption(new Option('--scale <factor>', 'all times but the next two').argParser(parseScale).default(1))
    .addOption(
      new Option('--maintenance <duration>', 'how long the exchange answers 503')
        .argParser(parseDuration)
        .default(20_000, '20s'),
    )
    .addOption(
      new Option('--limit <duration>', 'how long is waited for a call, and for one that is accepted again')
        .argParser(parseDuration)
        .default(60_000, '60s'),
    )
    .addOption(
      new Option('--accounts <labels>', 'the keys that are made up; KRAKEN_KEY is the first')
        .argParser(parseAccounts)
        .default(['MASTER', 'USER:alice', 'USER:bob'], 'MASTER,USER:alice,USER:bob'),
    )
    .addOption(new Option('--exclusive <policy>', 'what is exclusive').choices(EXCLUSION_POLICIES).default('global'))
    .addOption(new Option('--unit <unit>', 'what the bot signs with').choices(UNITS))
    .addOption(configOption())
    .option('--own-clock', 'the bot runs under nonced exec --own-clock, and makes its own nonces', false)
    .option('--no-restart', 'do not start the bot again when it ends')
    .addOption(
      new Option('--pass-env <names>', 'variables for the bot although they look like credentials').argParser(
        parseWords,
      ),
    )
    .option('--keep', 'keep the directory with the logs', false)
    .option('--json', 'the report as JSON, for scripts', false)
    .passThroughOptions()
    .addExamples(
      ['nonced rehearse -- node ./bot.js'],
      ['nonced rehearse --acts hang,kill --keep -- ./bot.sh'],
      ['nonced rehearse -- sh -c \'exec ./bot --url "$NONCED_REHEARSAL_URL"\'', 'a bot that takes the address so'],
    )
    .addNotes(`The bot finds the address in NONCED_REHEARSAL_URL and KRAKEN_URL, the daemon in NONCED_SOCKET, keys that were
made up in KRAKEN_KEY and KRAKEN_SECRET, all of them in the file KRAKEN_KEYS. Variables that look like credentials are
kept from it. A BOT THAT IGNORES THE ADDRESS CALLS THE REAL EXCHANGE; if it reads its real key from a file, with it.

Exits with 0 if nothing was wrong, 1 with findings.`)
    .action(async (command, options) => (await import('../commands/rehearse.ts')).rehearse(command, options));
}

function addSystemd(nonced: NoncedCommand): void {
  const systemd = nonced
    .command('systemd')
    .description('make nonced a service of this host, under systemd')
    .addExamples(
      ['sudo nonced systemd install', 'units, user and group, state; starts it and brings up to date'],
      ['sudo nonced systemd install --copy', 'the same, with copies of Node and nonced that no upgrade touches'],
      ['nonced systemd status', 'what is installed and how it is doing'],
      ['sudo nonced systemd uninstall', 'all but the state'],
    );
  const json = () => new Option('--json', 'as JSON, for scripts').default(false);
  const copy = (what: string) => new Option('--copy', what).default(false);

  systemd
    .command('install')
    .description('write the units, create user and group, write a first state, enable and start; or bring up to date')
    .addOption(copy('run the service from copies of this Node and this package in /usr/local/lib/nonced/VERSION'))
    .addOption(new Option('--unit <unit>', 'unit of a first state; it can never be changed').choices(UNITS))
    .option('--floor <nonce>', 'a first state begins at least here; left out or now, at the clock')
    .addOption(json())
    .addExamples(
      ['sudo nonced systemd install'],
      ['sudo nonced systemd install --unit ms', 'for keys that sign with milliseconds (13 digits)'],
      ['sudo nonced systemd install --copy', 'where Node lies under /home (nvm), or is upgraded without asking'],
    )
    .action(async (options) => (await import('../commands/systemd.ts')).install(options));

  systemd
    .command('uninstall')
    .description('stop the service and remove all but its state')
    .addOption(json())
    .addExamples(['sudo nonced systemd uninstall'])
    .action(async (options) => (await import('../commands/systemd.ts')).uninstall(options));

  systemd
    .command('status')
    .description('what is installed and how it is doing; exits 69 where bots would find no daemon')
    .addOption(json())
    .addExamples(['nonced systemd status'], ['nonced systemd status --json'])
    .action(async (options) => (await import('../commands/systemd.ts')).status(options));

  systemd
    .command('print')
    .description('print the files that install would write')
    .addOption(copy('as with install --copy'))
    .addExamples(['nonced systemd print'])
    .action(async (options) => (await import('../commands/systemd.ts')).print(options));

  systemd
    .command('rollback')
    .description('go back to the version that was installed before, and back again')
    .addOption(json())
    .addExamples(['sudo nonced systemd rollback'])
    .action(async (options) => (await import('../commands/systemd.ts')).rollback(options));
}
