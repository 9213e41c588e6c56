import { VERSION } from '../../version.ts';
import { treeOf } from '../command-line/command-tree.ts';
import { bashCompletion } from '../command-line/completion/bash.ts';
import { zshCompletion } from '../command-line/completion/zsh.ts';
import type { NoncedCommand } from '../command-line/nonced-command.ts';
import type { Terminal } from '../terminal/terminal.ts';

/** Prints the script that teaches a shell the command line. */
export function completion(shell: 'bash' | 'zsh', nonced: NoncedCommand, terminal: Terminal): void {
  const tree = treeOf(nonced);
  switch (shell) {
    case 'bash':
      terminal.print(bashCompletion(tree, VERSION));
      return;
    case 'zsh':
      terminal.print(zshCompletion(tree, VERSION));
  }
}
