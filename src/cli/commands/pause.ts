import { adminSocket, askOnce } from '../../client/ask.ts';
import type { PauseResult } from '../../protocol/messages.ts';
import { printJson, printLine, warn } from '../terminal/output.ts';

export interface PauseOptions {
  readonly json: boolean;
  readonly socket?: string;
}

/** Stops an account of the running daemon until it is resumed, also over restarts. */
export async function pause(account: string, { json, socket }: PauseOptions): Promise<void> {
  const change = await askOnce<PauseResult>(adminSocket(socket), 'pause', { account });
  if (json) {
    printJson(change);
    return;
  }
  warnIfUnknown(account, change);
  if (change.before === change.after) {
    printLine(`${account} is paused already; nothing was changed`);
  } else {
    printLine(`${account}: ${change.before} -> ${change.after}`);
    printLine('Its new calls, and those that were waiting, are refused with PAUSED; calls under way are not touched.');
  }
  printLine(`It stays paused over restarts, until: nonced resume ${account}`);
}

/** Lets a paused account go on, and closes its circuit breaker. */
export async function resume(account: string, { json, socket }: PauseOptions): Promise<void> {
  const change = await askOnce<PauseResult>(adminSocket(socket), 'resume-account', { account });
  if (json) {
    printJson(change);
    return;
  }
  warnIfUnknown(account, change);
  printLine(
    change.before === change.after ? `${account} was not paused` : `${account}: ${change.before} -> ${change.after}`,
  );
  printLine('Its circuit breaker is closed as well: the next call goes to the exchange.');
}

/** A misspelt label would leave the account that was meant trading. */
function warnIfUnknown(account: string, { isKnown }: PauseResult): void {
  if (!isKnown)
    warn(`no account ${account} has drawn a nonce here; is the label right? \`nonced status\` lists those that did`);
}
