import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { hasProgram } from '../../fixtures/shell.ts';

const PROMPT = 'ready> ';

/** Why no line can be typed into this shell, with a blank before it; empty if one can. */
export function cannotType(shell: 'bash' | 'zsh'): string {
  // `script` gives the shell the terminal without which it has no line editor; that of macOS has other options.
  const missing = [shell, 'script'].find((program) => !hasProgram(program));
  if (missing !== undefined) return ` (skipped: no ${missing})`;
  return process.platform === 'linux' ? '' : ' (skipped: script(1) of Linux only)';
}

const SHELLS = {
  bash: { command: 'bash --noprofile --norc -i', setUp: "PS1='ready> '; bind 'set enable-bracketed-paste off'" },
  zsh: {
    command: 'zsh -f -i',
    setUp: "PS1='ready> '; unsetopt zle_bracketed_paste prompt_cr prompt_sp; autoload -U compinit; compinit -u -D",
  },
};

/**
 * Types command lines into a shell that has sourced the script, with their Tabs, and returns the words that the command
 * `nonced` is then given by each. What is offered without being inserted, because it is one of several, is not among them.
 */
export async function typedWords(
  shell: 'bash' | 'zsh',
  script: string,
  lines: readonly string[],
  dir: string,
): Promise<string[][]> {
  const { command, setUp } = SHELLS[shell];
  const child = spawn('script', ['-qfec', command, '/dev/null'], {
    cwd: dir,
    env: { PATH: process.env['PATH'], HOME: dir, TERM: 'dumb', LC_ALL: 'C' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let shown = '';
  let look = () => {};
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
    look();
  });
  const shownTimes = (text: string, times: number) =>
    new Promise<void>((resolve) => {
      look = () => shown.split(text).length > times && resolve();
      look();
    });
  // In halves, so that the echo of what was typed does not pass for what was printed.
  const define = `nonced() { printf '<%s>' "$@"; echo "<en""d>"; }`;
  child.stdin.write(`${define}; ${setUp}; source ${script}; nonced\n`);
  for (const [index, line] of lines.entries()) {
    await shownTimes('<end>', index + 1);
    await shownTimes(PROMPT, index + 1);
    child.stdin.write(`${line}\n`);
  }
  await shownTimes('<end>', lines.length + 1);
  child.stdin.end('exit\n');
  await once(child, 'close');
  return shown
    .split('\n')
    .filter((text) => text.includes('<end>'))
    .slice(1)
    .map((text) => [...text.matchAll(/<([^<>]*)>/g)].map(([, word = '']) => word).slice(0, -1));
}
