import { adminSocket, askOnce } from '../../client/ask.ts';
import type { PauseResult } from '../../protocol/messages.ts';
import { printJson, printLine, warn } from '../terminal/output.ts';

export interface PauseOptions {
  readonly json: boolean;
  readonly socket?: string;
}

/** Refuses all calls of an account until it is resumed, also after restarts. */
export async function pause(account: string, { json, socket }: PauseOptions): Promise<void> {
  const change = await askOnce<PauseResult>(adminSocket(socket), 'pause', { account });
  if (json) {
    printJson(change);
    return;
  }
  warnIfUnknown(account, change);
  if (change.before === change.after) {
    printLine(`${account} is already paused; nothing was changed`);
  } else {
    printLine(`${account}: ${change.before} -> ${change.after}`);
    printLine('Its new and waiting calls are refused with PAUSED. Calls under way go on.');
  }
  printLine(`It stays paused, also after restarts, until: nonced resume ${account}`);
}

/** Ends the pause of an account, and closes its circuit breaker. */
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
  printLine('Its circuit breaker is closed, too: the next call goes to the exchange.');
}

/** Warns of a label that may be misspelt: the account that was meant would go on trading. */
function warnIfUnknown(account: string, { isKnown }: PauseResult): void {
  if (!isKnown)
    warn(
      `account ${account} has never drawn a nonce here: check the label; \`nonced status\` lists the accounts that did`,
    );
}
