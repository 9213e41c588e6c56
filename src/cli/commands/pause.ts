import { adminSocket, askOnce } from '../../client/ask.ts';
import type { PauseResult } from '../../protocol/messages.ts';
import type { Terminal } from '../terminal/terminal.ts';

export interface PauseOptions {
  readonly json: boolean;
  readonly socket?: string;
}

/** Refuses all calls of an account until it is resumed, also after restarts. */
export async function pause(account: string, { json, socket }: PauseOptions, terminal: Terminal): Promise<void> {
  const change = await askOnce<PauseResult>(adminSocket(socket), 'pause', { account });
  if (json) {
    terminal.printJson(change);
    return;
  }
  warnIfUnknown(account, change, terminal);
  if (change.before === change.after) {
    terminal.printLine(`${account} is already paused; nothing was changed`);
  } else {
    terminal.printLine(`${account}: ${change.before} -> ${change.after}`);
    terminal.printLine('Its new and waiting calls are refused with PAUSED. Calls under way go on.');
  }
  terminal.printLine(`It stays paused, also after restarts, until: nonced resume ${account}`);
}

/** Ends the pause of an account, and closes its circuit breaker. */
export async function resume(account: string, { json, socket }: PauseOptions, terminal: Terminal): Promise<void> {
  const change = await askOnce<PauseResult>(adminSocket(socket), 'resume-account', { account });
  if (json) {
    terminal.printJson(change);
    return;
  }
  warnIfUnknown(account, change, terminal);
  if (!change.isKnown && change.before === 'running') {
    terminal.printLine('Nothing was changed.');
    return;
  }
  terminal.printLine(
    change.before === change.after ? `${account} was not paused` : `${account}: ${change.before} -> ${change.after}`,
  );
  terminal.printLine('Its circuit breaker is closed, too: the next call goes to the exchange.');
}

/** Warns of a label that may be misspelt: the account that was meant would go on trading. */
function warnIfUnknown(account: string, { isKnown }: PauseResult, terminal: Terminal): void {
  if (!isKnown)
    terminal.warn(
      `account ${account} has never drawn a nonce here: check the label; \`nonced status\` lists the accounts that did`,
    );
}
