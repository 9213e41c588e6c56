import { allOf, type TreeCommand } from './command-tree.ts';
import { ENVIRONMENT, type Entry, FILES, groupsOf, nameOf, sentence } from './man-page.ts';
import type { Example } from './nonced-command.ts';

/** The page that says more about a command and its subcommands. */
const MORE: Readonly<Record<string, string>> = {
  exec: 'examples.md#from-a-shell',
  nonce: 'client.md#without-exclusive',
  status: 'status.md',
  top: 'status.md#live-nonced-top',
  why: 'recovery.md#a-bot-reports-invalid-nonce',
  timeline: 'timeline.md',
  metrics: 'metrics.md',
  doctor: 'operations.md#nonced-doctor',
  pause: 'errors.md#paused',
  resume: 'errors.md#quarantined',
  drain: 'operations.md#rebooting-the-machine',
  advance: 'recovery.md#calls-are-rejected-and-nothing-is-wrong-here',
  'set-exclusive': '../README.md#choosing-what-is-exclusive',
  serve: 'operations.md#directories-and-sockets',
  state: 'recovery.md#choosing-the-floor',
  systemd: 'operations.md#install',
  rehearse: 'rehearsal.md',
  completion: 'operations.md#completion-and-the-manual-page',
};

/** Returns docs/commands.md, made from the same data as --help and the manual page. */
export function commandsPage(tree: TreeCommand): string {
  const groups = groupsOf(withoutHelp(tree));
  return [
    '# Every command',
    '',
    '<!-- Made by `npm run commands` from what --help is made of. Do not edit this page. -->',
    '',
    '`nonced COMMAND --help` and `man nonced` say the same. Durations are written `250ms`, `60s`, `5m` or `2h`; a bare number',
    'is seconds, except in `advance --by`, which needs the unit. Commands for the operator use `admin.sock`, which is for',
    "root and the daemon's own user. [Exit codes](errors.md#exit-codes) have a page of their own.",
    '',
    ...groups.flatMap(([group, commands]) => [
      `| ${group} | |`,
      '| --- | --- |',
      ...commands.map((command) => row(`[\`${nameOf(command.path)}\`](#${anchorOf(command)})`, command.description)),
      '',
    ]),
    ...groups.flatMap(([group, commands]) => [`## ${group}`, '', ...commands.flatMap(allOf).flatMap(sectionOf)]),
    '## Environment',
    '',
    ...tableOf(ENVIRONMENT),
    '## Files',
    '',
    ...tableOf(FILES),
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');
}

/** Leaves out the command `help`, which commander adds wherever there are subcommands. */
function withoutHelp(tree: TreeCommand): TreeCommand {
  const commands = tree.commands.filter(({ path }) => path.at(-1) !== 'help').map(withoutHelp);
  return { ...tree, commands };
}

function sectionOf(command: TreeCommand): string[] {
  const { path, usage, description, options, operands, notes, examples } = command;
  const more = path.length === 1 ? MORE[path[0] ?? ''] : undefined;
  const about = [
    ...operands.filter(({ fullDescription }) => fullDescription !== '').map((each) => [each.name, each] as const),
    // Every command has --help.
    ...options.filter(({ names }) => !names.includes('--help')).map((each) => [each.flags, each] as const),
  ];
  return [
    `### ${nameOf(path)}`,
    '',
    ...block('', [`${nameOf(path)}${usage === '' ? '' : ` ${usage}`}`]),
    `${plain(sentence(description))}${more === undefined ? '' : ` [More](${more})`}`,
    '',
    ...tableOf(about.map(([name, { fullDescription }]) => [name, fullDescription])),
    ...(notes === '' ? [] : block('', notes.split('\n'))),
    ...(examples.length === 0 ? [] : block('sh', examples.map(exampleLine))),
  ];
}

function exampleLine([line, remark]: Example): string {
  return remark === undefined ? line : `${line}    # ${remark}`;
}

function tableOf(entries: readonly Entry[]): string[] {
  if (entries.length === 0) return [];
  return ['| | |', '| --- | --- |', ...entries.map(([name, meaning]) => row(`\`${name}\``, meaning)), ''];
}

function row(name: string, meaning: string): string {
  return `| ${name.replaceAll('|', '\\|')} | ${plain(meaning)} |`;
}

/** Escapes what Markdown would take for HTML or for a column. */
function plain(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '\\<');
}

function block(language: string, lines: readonly string[]): string[] {
  return [`\`\`\`${language}`, ...lines, '```', ''];
}

function anchorOf({ path }: TreeCommand): string {
  return nameOf(path).replaceAll(' ', '-');
}
