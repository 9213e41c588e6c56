import type { Nonce, Observer } from '../../core/ports.ts';
import { holderText, textOf } from '../../core/record/event-text.ts';
import { callFields, isNoteworthy } from './call-line.ts';
import type { CallLog } from './call-log.ts';
import type { Log } from './log.ts';

/** What the broker tells of, as lines of the log and of the journal, if there is one. */
export function observerOf(log: Log, journal: CallLog | undefined, failed: (error: Error) => void): Observer {
  const observer: Observer = {
    failed,
    observe(event) {
      const { severity, text } = textOf(event);
      log[severity](text);
      journal?.observe(event);
    },
    ended(call) {
      if (isNoteworthy(call)) log.info('call', callFields(call));
      else if (log.isDebug) log.debug('call', callFields(call));
      journal?.ended(call);
    },
  };
  if (!log.isDebug) return observer;
  return {
    ...observer,
    granted: (call, count) =>
      log.debug(`granted ${span(call.nonce, count)} to ${holderText(call)} for account ${call.account}`),
    drawn: (account, nonce, count) => log.debug(`drew ${span(nonce, count)} for account ${account}`),
  };
}

/** The first of so many consecutive nonces, and how many they are where it is not the only one. */
function span(nonce: Nonce | undefined, count: number): string {
  return count === 1 ? String(nonce) : `${nonce} and the ${count - 1} after it`;
}
