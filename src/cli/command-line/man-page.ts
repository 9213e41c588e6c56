import { EXIT } from '../../errors.ts';
import { allOf, type TreeCommand, type TreeOption } from './command-tree.ts';
import { bold, exampleLines, guarded, prose, richProse } from './roff.ts';

const EXIT_STATUS: Readonly<Record<keyof typeof EXIT, string>> = {
  usage: 'The command line is wrong, or asks for something that is not possible.',
  unavailable: 'No daemon answers.',
  defect: 'The program has a defect.',
  ioError: 'The disk failed, or the state cannot be written and the reserve is used up.',
  tempFail: 'Busy, or it took too long: the cause may pass.',
  noPermission: 'This user has no permission: try another user, or root.',
  config: 'An operator must correct the configuration or decide about the state.',
};

export const ENVIRONMENT: readonly Entry[] = [
  ['NONCED_SOCKET', 'Where the daemon is found, unless `--socket` is given.'],
  ['NONCED_NONCE', 'Set by `nonced exec` for the program that it runs: the nonce of its call.'],
  ['NONCED_ACCOUNT', 'Also set by `nonced exec`: the account that the nonce is for.'],
  ['NONCED_CALL_LOG', 'Where `nonced serve` writes every call that ends, unless `--call-log` is given.'],
  ['NONCED_CALL_LOG_SIZE', 'At what size it begins a new file, unless `--call-log-size` is given.'],
  ['STATE_DIRECTORY', "The daemon's state directory, unless `--state-dir` is given; set by systemd(1)."],
  ['RUNTIME_DIRECTORY', 'The directory of its sockets, unless `--runtime-dir` is given; set by systemd(1).'],
  ['CONFIGURATION_DIRECTORY', 'Where `config.json` is read, unless `--config` names a file; set by the unit.'],
  ['XDG_STATE_HOME', 'Holds the state directory of a daemon that neither root nor systemd(1) runs.'],
  ['XDG_RUNTIME_DIR', 'Holds the sockets of such a daemon.'],
  ['NO_COLOR', 'If set to anything, there are no colours, not even on a terminal.'],
];

export const FILES: readonly Entry[] = [
  [
    '/var/lib/nonced/state.json',
    'The state of a daemon that runs as root or as the service. Never copy it to a second host.',
  ],
  ['~/.local/state/nonced/state.json', 'The state of a daemon that any other user runs.'],
  ['/run/nonced/nonced.sock', "The service's socket for bots. Every user who may open it can draw nonces."],
  ['/run/nonced/admin.sock', "The operator's socket."],
  ['/run/nonced/leases', 'Who holds which lease, for the next daemon if this one is killed.'],
  ['/run/nonced/state', 'What was durable in this boot: an older state.json is refused.'],
  ['/etc/nonced/config.json', 'Pacing, sequences and exchanges of the accounts. The file is optional.'],
];

export type Entry = readonly [name: string, meaning: string];

/** Returns the manual page nonced(1), made from the same data as --help. The same input gives the same bytes. */
export function manPage(tree: TreeCommand, version: string, releasedMs: number): string {
  const date = new Date(releasedMs).toISOString().slice(0, 10);
  const groups = groupsOf(tree);
  return [
    `.TH NONCED 1 ${date} "nonced ${version}" "User Commands"`,
    '.nh',
    '.ad l',
    '.SH NAME',
    'nonced \\- increasing nonces, and one call at a time, for exchange API keys',
    '.SH SYNOPSIS',
    ...synopsisOf(tree),
    '.SH DESCRIPTION',
    guarded(prose(tree.description)),
    '.PP',
    richProse(
      'An exchange accepts a private call only if its nonce is higher than the last one of that API key. The daemon, ' +
        '`nonced serve`, gives every program of the host the next nonce together with the exclusive right to make the ' +
        'call that uses it. It never hands out a nonce twice and never goes back, whatever is killed, restarted or ' +
        'unplugged. It knows the labels of keys, never the keys.',
    ),
    '.PP',
    richProse(
      'Durations are written `250ms`, `60s`, `5m` or `2h`; a bare number is seconds unless an option says otherwise. ' +
        'Nonces have 19 digits in `ns`, the unit of a first state. A key that has accepted a nonce of 19 digits never ' +
        'accepts one of 13 again.',
    ),
    '.SH OPTIONS',
    ...tree.options.flatMap(optionOf),
    '.SH COMMANDS',
    ...groups.flatMap(([group, commands]) => entryOf([group, commands.map(({ path }) => path.join(' ')).join(', ')])),
    ...groups.flatMap(([group, commands]) => [
      `.SH ${group.toUpperCase()}`,
      ...commands.flatMap(allOf).flatMap(commandOf),
    ]),
    '.SH ENVIRONMENT',
    ...ENVIRONMENT.flatMap(entryOf),
    '.SH FILES',
    ...FILES.flatMap(entryOf),
    '.SH EXIT STATUS',
    ...entryOf(['0', 'Done.']),
    ...Object.entries(EXIT).flatMap(([cause, code]) =>
      entryOf([String(code), EXIT_STATUS[cause as keyof typeof EXIT]]),
    ),
    '.PP',
    richProse(
      '`nonced status --check` exits as monitoring expects: 0, 1, 2 or 3. `nonced exec` exits as its program does, or ' +
        'with 128 plus the number of the signal that ended it.',
    ),
    '.SH EXAMPLES',
    ...examplesOf(tree),
    '.SH SEE ALSO',
    '.BR flock (1),',
    '.BR systemctl (1),',
    '.BR journalctl (1),',
    '.BR systemd.socket (5)',
    '.PP',
    richProse(
      'The package has more to read: `README.md`, and in `docs` among others `operations.md` for running it, ' +
        '`configuration.md` for call rates and several exchanges, `errors.md` for every error code, and `protocol.md` ' +
        'for a client in another language.',
    ),
    '',
  ].join('\n');
}

/** Returns the commands of each group, in the order of --help. */
export function groupsOf({ commands }: TreeCommand): (readonly [group: string, commands: readonly TreeCommand[]])[] {
  const names = new Set(commands.map(({ group }) => group));
  return [...names].map((name) => [name, commands.filter(({ group }) => group === name)]);
}

/** Lists the commands that do something, each with what may follow it. */
function synopsisOf(tree: TreeCommand): string[] {
  const lines = allOf(tree)
    .filter(({ path, commands }) => commands.length === 0 && path.at(-1) !== 'help')
    .map(({ path, usage }) => `${bold(nameOf(path))}${usage === '' ? '' : ` ${prose(usage)}`}`);
  return lines.flatMap((line, index) => (index === 0 ? [line] : ['.br', line]));
}

function commandOf(command: TreeCommand): string[] {
  const { path, usage, description, options, operands, notes } = command;
  const about = operands.filter(({ fullDescription }) => fullDescription !== '');
  return [
    `.SS ${bold(nameOf(path))}${usage === '' ? '' : ` ${prose(usage)}`}`,
    guarded(prose(sentence(description))),
    ...about.flatMap(({ name, fullDescription }) => ['.TP', `.I ${prose(name)}`, guarded(prose(fullDescription))]),
    // Every command has --help, which is among the options above.
    ...options.filter(({ names }) => !names.includes('--help')).flatMap(optionOf),
    ...(notes === '' ? [] : ['.PP', ...notes.split('\n').map((line) => guarded(prose(line)))]),
    ...(command.examples.length === 0 ? [] : ['.PP', ...examplesOf(command)]),
  ];
}

function optionOf({ flags, fullDescription }: TreeOption): string[] {
  return ['.TP', bold(flags), guarded(prose(fullDescription))];
}

function examplesOf({ examples }: TreeCommand): string[] {
  return exampleLines(examples.flatMap(([line, remark]) => (remark === undefined ? [line] : [`# ${remark}`, line])));
}

function entryOf([name, meaning]: Entry): string[] {
  return ['.TP', bold(name), guarded(richProse(meaning))];
}

export function nameOf(path: readonly string[]): string {
  return ['nonced', ...path].join(' ');
}

export function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
}
