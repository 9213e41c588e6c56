import { RELEASED_MS, VERSION } from '../../version.ts';
import { treeOf } from '../command-line/command-tree.ts';
import { commandsPage } from '../command-line/commands-page.ts';
import { manPage } from '../command-line/man-page.ts';
import type { NoncedCommand } from '../command-line/nonced-command.ts';
import type { Terminal } from '../terminal/terminal.ts';

/** Prints the source of the manual page, which the build keeps as man/nonced.1; or docs/commands.md. */
export function man(nonced: NoncedCommand, { markdown }: { readonly markdown: boolean }, terminal: Terminal): void {
  const tree = treeOf(nonced);
  terminal.print(markdown ? commandsPage(tree) : manPage(tree, VERSION, RELEASED_MS));
}
