import { adminSocket, askOnce } from '../../client/ask.ts';
import type { ChangeResult } from '../../protocol/messages.ts';
import type { Terminal } from '../terminal/terminal.ts';

export interface SetExclusiveOptions {
  readonly json: boolean;
  readonly socket?: string;
}

/** Switches the exclusion policy of the running daemon for good. */
export async function setExclusive(
  policy: string,
  { json, socket }: SetExclusiveOptions,
  terminal: Terminal,
): Promise<void> {
  const change = await askOnce<ChangeResult>(adminSocket(socket), 'set-exclusive', { policy });
  if (json) terminal.printJson(change);
  else terminal.printLine(`exclusion policy: ${change.before} -> ${change.after}`);
}
