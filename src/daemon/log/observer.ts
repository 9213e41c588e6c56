import type { Nonce, Observer } from '../../core/ports.ts';
import { holderText, textOf } from '../../core/record/event-text.ts';
import { callFields, isNoteworthy } from './call-line.ts';
import type { CallLog } from './call-log.ts';
import type { Log } from './log.ts';
import { refusalText, severityOf } from './refusal-line.ts';

/** Returns an observer that writes what the broker tells to the log, and to the call log if there is one. */
export function observerOf(log: Log, callLog: CallLog | undefined, failed: (error: Error) => void): Observer {
  const observer: Observer = {
    failed,
    observe(event) {
      const { severity, text } = textOf(event);
      log[severity](text);
      callLog?.observe(event);
    },
    ended(call) {
      if (isNoteworthy(call)) log.info('call', callFields(call));
      else if (log.isDebug) log.debug('call', callFields(call));
      callLog?.ended(call);
    },
    refused(refusal, series) {
      const severity = severityOf(refusal, series);
      if (severity !== undefined) log[severity](refusalText(refusal, series));
      else if (log.isDebug) log.debug(refusalText(refusal, series));
      callLog?.refused(refusal);
    },
  };
  if (!log.isDebug) return observer;
  return {
    ...observer,
    granted: (call, count) =>
      log.debug(`granted ${nonces(call.nonce, count)} to ${holderText(call)} for account ${call.account}`),
    drawn: (account, nonce, count) => log.debug(`drew ${nonces(nonce, count)} for account ${account}`),
  };
}

/** Returns `7`, or `7 and the 2 after it`. A rehearsal reads it back. */
function nonces(nonce: Nonce | undefined, count: number): string {
  return count === 1 ? String(nonce) : `${nonce} and the ${count - 1} after it`;
}
