import { allOf, type Takes, type TreeCommand } from '../command-tree.ts';

/**
 * Returns a script that teaches bash the command line. Pressing Tab runs no program. It needs neither the package
 * bash-completion nor a bash newer than 3.2.
 */
export function bashCompletion(tree: TreeCommand, version: string): string {
  return `# Completion for bash, made by nonced ${version}: nonced completion bash

# The commands and options that may follow a command.
_nonced_next() {
  commands= options=
  case $1 in
${allOf(tree).map(nextOf).join('\n')}
  esac
}

# What the value of an option is, or the nth operand of a command; fails if it takes none.
_nonced_takes() {
  case $1 in
${allOf(tree).flatMap(valuesOf).join('\n')}
    *) takes=; return 1 ;;
  esac
}

${FUNCTIONS}`;
}

/** Returns words as the script keeps them, each after a blank. */
function keyOf(words: readonly (string | number)[]): string {
  return words.map((word) => ` ${word}`).join('');
}

function nextOf({ path, commands, options }: TreeCommand): string {
  const names = commands.map(({ path }) => path.at(-1) ?? '');
  const given = options.flatMap((option) => option.names);
  return `    ${quote(keyOf(path))}) commands=${quote(names.join(' '))} options=${quote(given.join(' '))} ;;`;
}

function valuesOf({ path, options, operands }: TreeCommand): string[] {
  const line = (keys: readonly (string | number)[], takes: Takes) =>
    `    ${keys.map((key) => quote(keyOf([...path, key]))).join(' | ')}) takes=${quote(wordOf(takes))} ;;`;
  return [
    ...options.flatMap(({ names, value }) => (value === undefined ? [] : [line(names, value.takes)])),
    ...operands.map(({ takes }, index) => line([index], takes)),
  ];
}

/** Returns the choices themselves, or a word that no choice begins with. */
function wordOf(takes: Takes): string {
  return takes.kind === 'choice' ? takes.choices.join(' ') : `@${takes.kind}`;
}

function quote(text: string): string {
  return /^[\w@./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

const FUNCTIONS = `_nonced_offer() {
  local IFS=$'\\n'
  # bash 3.2 cannot tell readline, so the words are offered as they are.
  case $1 in
    @file) compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$2")) ;;
    @directory) compopt -o dirnames 2>/dev/null || COMPREPLY=($(compgen -d -- "$2")) ;;
    @program) COMPREPLY=($(compgen -c -- "$2")) ;;
    @*) ;;
    *) COMPREPLY=($(IFS=' '; compgen -W "$1" -- "$2")) ;;
  esac
}

# Another program and its arguments begin at the word with this index.
_nonced_program() {
  if declare -F _comp_command_offset >/dev/null; then
    _comp_command_offset "$1"
  elif declare -F _command_offset >/dev/null; then
    _command_offset "$1"
  elif (($1 == COMP_CWORD)); then
    _nonced_offer @program "$2"
  else
    _nonced_offer @file "$2"
  fi
}

_nonced() {
  local command= option= ended= operands=0 index word commands options takes
  local current=\${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  _nonced_next ''
  for ((index = 1; index < COMP_CWORD; index++)); do
    word=\${COMP_WORDS[index]}
    if [[ -n $option ]]; then
      # Its value; but bash makes three words of --option=value.
      [[ $word == = ]] || option=
    elif [[ -z $ended && $word == -- ]]; then
      ended=yes
    elif [[ -z $ended && $word == -* ]]; then
      _nonced_takes "$command $word" && option=$word
    elif [[ -n $word && " $commands " == *" $word "* ]]; then
      command+=" $word"
      _nonced_next "$command"
    else
      _nonced_takes "$command $operands"
      if [[ $takes == @program ]]; then
        _nonced_program "$index" "$current"
        return
      fi
      operands=$((operands + 1))
    fi
  done

  if [[ -n $option ]]; then
    _nonced_takes "$command $option"
    [[ $current == = ]] && current=
    _nonced_offer "$takes" "$current"
  elif [[ -z $ended && $current == -* ]]; then
    _nonced_offer "$options" "$current"
  elif [[ -n $commands ]]; then
    _nonced_offer "$commands" "$current"
  elif _nonced_takes "$command $operands"; then
    if [[ $takes == @program ]]; then _nonced_program "$COMP_CWORD" "$current"; else _nonced_offer "$takes" "$current"; fi
  elif [[ -z $ended && -z $current ]]; then
    _nonced_offer "$options" ''
  fi
}

complete -F _nonced nonced
`;
