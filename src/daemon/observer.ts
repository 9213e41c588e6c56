import { holderText, textOf } from '../core/event-text.ts';
import type { Observer } from '../core/ports.ts';
import { callFields, isNoteworthy } from './call-line.ts';
import type { Journal } from './journal.ts';
import type { Log } from './log.ts';

/** What the broker tells of, as lines of the log and of the journal, if there is one. */
export function observerOf(log: Log, journal: Journal | undefined, failed: (error: Error) => void): Observer {
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
    granted: (call) => log.debug(`granted ${call.nonce} to ${holderText(call)} for account ${call.account}`),
  };
}
