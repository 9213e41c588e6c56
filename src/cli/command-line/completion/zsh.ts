import { allOf, type Takes, type TreeCommand, type TreeOption } from '../command-tree.ts';

/**
 * Returns a script that teaches zsh the command line, either sourced or as a file `_nonced` in a directory of $fpath.
 * It needs nothing else: pressing Tab runs no program.
 */
export function zshCompletion(tree: TreeCommand, version: string): string {
  return `#compdef nonced
# Completion for zsh, made by nonced ${version}: nonced completion zsh

${[...allOf(tree)].reverse().map(functionOf).join('\n\n')}

# Loaded from $fpath this is the body of the function itself; sourced, it is only told to the completion system.
if [[ $funcstack[1] == _nonced ]]; then
  _nonced "$@"
else
  compdef _nonced nonced
fi
`;
}

function functionOf(command: TreeCommand): string {
  return command.commands.length === 0 ? leafOf(command) : branchOf(command);
}

function leafOf({ path, options, operands }: TreeCommand): string {
  const specs = [
    ...options.map(specOf),
    ...operands.map(({ name, takes }, index) =>
      // Another program completes its own options.
      takes.kind === 'program'
        ? quote(`(-)${index + 1}:program: _command_names -e`)
        : quote(`${index + 1}:${literal(name)}:${actionOf(takes)}`),
    ),
    ...(operands.some(({ takes }) => takes.kind === 'program') ? [quote('*::arguments: _normal')] : []),
  ];
  return `${nameOf(path)}() {
  _arguments -s -S -A '-*' ${specs.map((spec) => `\\\n    ${spec}`).join(' ')}
}`;
}

function branchOf({ path, options, commands }: TreeCommand): string {
  const nameAt = (sub: TreeCommand) => sub.path.at(-1) ?? '';
  return `${nameOf(path)}() {
  local context state state_descr line curcontext="$curcontext" ret=1
  typeset -A opt_args
  _arguments -C -s -S ${options.map((option) => `\\\n    ${specOf(option)}`).join(' ')} \\
    '1: :->command' \\
    '*:: :->below' && ret=0
  case $state in
    command)
      local -a commands
      commands=(
${commands.map((sub) => `        ${quote(`${nameAt(sub).replaceAll(':', '\\:')}:${sub.description}`)}`).join('\n')}
      )
      _describe -t commands command commands && ret=0
      ;;
    below)
      curcontext="\${curcontext%:*:*}:${['nonced', ...path].join('-')}-$words[1]:"
      case $words[1] in
${commands.map((sub) => `        ${quote(nameAt(sub))}) ${nameOf(sub.path)} && ret=0 ;;`).join('\n')}
      esac
      ;;
  esac
  return ret
}`;
}

function nameOf(path: readonly string[]): string {
  return ['_nonced', ...path].join('_').replaceAll('-', '_');
}

function specOf({ names, description, value }: TreeOption): string {
  const [first = ''] = names;
  const isOnly = names.length === 1;
  // With --help or --version nothing else on the line matters.
  const isLast = names.includes('--help') || names.includes('--version');
  const excluded = isLast ? '(- *)' : isOnly ? '' : `(${names.join(' ')})`;
  const what = `[${literal(description)}]${value === undefined ? '' : `:${literal(value.name)}:${actionOf(value.takes)}`}`;
  const forms = names.map((name) => (value === undefined ? name : name.startsWith('--') ? `${name}=` : `${name}+`));
  if (isOnly) return quote(`${excluded}${value === undefined ? first : forms.join()}${what}`);
  return `${quote(excluded)}{${forms.join(',')}}${quote(what)}`;
}

function actionOf(takes: Takes): string {
  switch (takes.kind) {
    case 'file':
      return '_files';
    case 'directory':
      return '_files -/';
    case 'program':
      return '_command_names -e';
    case 'choice':
      return `(${takes.choices.join(' ')})`;
    case 'anything':
      return ' ';
  }
}

/** Returns text in which _arguments finds no special character. */
function literal(text: string): string {
  return text.replaceAll(/[\\[\]:]/g, '\\$&');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
