import { VERSION } from '../../version.ts';
import { treeOf } from '../command-line/command-tree.ts';
import { bashCompletion } from '../command-line/completion/bash.ts';
import { zshCompletion } from '../command-line/completion/zsh.ts';
import type { NoncedCommand } from '../command-line/nonced-command.ts';

/** Prints the script that teaches a shell the command line. */
export function completion(shell: 'bash' | 'zsh', nonced: NoncedCommand): void {
  const tree = treeOf(nonced);
  switch (shell) {
    case 'bash':
      process.stdout.write(bashCompletion(tree, VERSION));
      return;
    case 'zsh':
      process.stdout.write(zshCompletion(tree, VERSION));
  }
}
