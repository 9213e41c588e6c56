import { RELEASED_MS, VERSION } from '../../version.ts';
import { treeOf } from '../command-line/command-tree.ts';
import { manPage } from '../command-line/man-page.ts';
import type { NoncedCommand } from '../command-line/nonced-command.ts';

/** Prints the source of the manual page; the build keeps it as man/nonced.1. */
export function man(nonced: NoncedCommand): void {
  process.stdout.write(manPage(treeOf(nonced), VERSION, RELEASED_MS));
}
