import { adminSocket, askOnce } from '../../client/ask.ts';
import type { ChangeResult } from '../../protocol/messages.ts';
import { printJson, printLine } from '../terminal/output.ts';

export interface SetExclusiveOptions {
  readonly json: boolean;
  readonly socket?: string;
}

/** Switches the exclusion policy of the running daemon for good. */
export async function setExclusive(policy: string, { json, socket }: SetExclusiveOptions): Promise<void> {
  const change = await askOnce<ChangeResult>(adminSocket(socket), 'set-exclusive', { policy });
  if (json) printJson(change);
  else printLine(`exclusion policy: ${change.before} -> ${change.after}`);
}
