import { formatDuration } from '../../durations.ts';
import type { BrokerEvent, ObservedCall } from '../ports.ts';

const DAY_MS = 86_400_000;

/** An event as a log and a list of events tell it. */
export interface EventText {
  /** `warn` wants an eye; `error` wants it now. */
  readonly severity: 'error' | 'warn' | 'info' | 'debug';
  /** In one line: the fact, then what to do where something is to be done. */
  readonly text: string;
}

const BREAKER_CAUSE = {
  'invalid-nonce': 'the exchange has rejected too many of its nonces',
  'locked-out': 'the exchange has locked its key out',
} as const;

export function textOf(event: BrokerEvent): EventText {
  switch (event.kind) {
    case 'write-failed':
      return error(
        `the state cannot be written (${event.error.message}); going on below the durable ceiling, and trying again`,
      );
    case 'write-recovered':
      return info('the state can be written again');
    case 'clock-changed':
      return clockText(event);
    case 'ahead':
      return warn(
        `sequence ${event.sequence} is ${formatDuration(event.leadMs)} ahead of the clock; it goes on from there`,
      );
    case 'rejected':
      return warn(rejectedText(event.call, event.before));
    case 'breaker-changed':
      return event.openFor === undefined
        ? info(`account ${event.account} is let through again`)
        : warn(
            `account ${event.account} is let through only to probe: ${BREAKER_CAUSE[event.openFor]}. ` +
              `See: nonced why ${event.account}`,
          );
    case 'exchange-changed':
      return event.isDown
        ? warn(`exchange ${event.exchange} does not answer: urgent calls and probes only, until it does`)
        : info(`exchange ${event.exchange} answers again`);
    case 'key-changed':
      return warn(
        `account ${event.account} has another API key than before; if nobody has made a new one, a bot uses the wrong label`,
      );
    case 'paused':
      return info(`an operator has paused account ${event.account}`);
    case 'resumed':
      return info(`an operator lets account ${event.account} go on`);
    case 'exclusion-changed':
      return info(`an operator has changed the exclusion policy: ${event.before} -> ${event.after}`);
    case 'advanced':
      return info(`an operator has advanced sequence ${event.sequence}: ${event.before} -> ${event.after}`);
    case 'configured':
      // The log has a line of its own for a reload, with the file's name.
      return { severity: 'debug', text: 'a configuration is in effect' };
    case 'configuration-refused':
      return error(`the configuration was read anew and nothing was changed: ${event.problem}`);
    case 'drain-changed':
      return event.isDraining
        ? warn('an operator drains the daemon: urgent calls only, until it is restarted or `nonced drain --off`')
        : info('an operator has ended the drain: all calls are let through again');
    case 'started':
      return { severity: 'debug', text: 'the daemon has started' };
  }
}

/** The account, exchange or sequence that an event is about. */
export function subjectOf(event: BrokerEvent): string | undefined {
  if ('account' in event) return event.account;
  if ('exchange' in event) return event.exchange;
  return 'sequence' in event ? event.sequence : undefined;
}

/** Who made a call, and for whom: for a log. */
export function holderText({ account, holder, pid, label }: ObservedCall): string {
  const what = label === undefined ? '' : `, ${label}`;
  return `${holder ?? 'an unnamed client'} (pid ${pid ?? '?'}, ${account}${what})`;
}

function clockText({ state, offMs }: BrokerEvent & { kind: 'clock-changed' }): EventText {
  const off = formatDuration(offMs);
  switch (state) {
    case 'not-followed': {
      const insist = offMs > DAY_MS ? '--force' : '--yes';
      return warn(
        `the clock jumped ${off} ahead and is not followed; if it is right, accept it: nonced advance --to now ${insist}`,
      );
    }
    case 'behind':
      return warn('the clock is behind what this state has seen; going on from the last nonce until it is set');
    case 'followed':
      return info(`the clock is followed again (${off} off)`);
  }
}

function rejectedText(call: ObservedCall, before: ObservedCall | undefined): string {
  const nonce = call.nonce ?? '(of before a restart)';
  const earlier = before === undefined ? 'nobody that is remembered' : holderText(before);
  return (
    `the exchange rejected nonce ${nonce} of account ${call.account}, reported by ${holderText(call)}; ` +
    `before it the lane was held by ${earlier}. See: nonced why ${call.account}`
  );
}

const error = (text: string): EventText => ({ severity: 'error', text });
const warn = (text: string): EventText => ({ severity: 'warn', text });
const info = (text: string): EventText => ({ severity: 'info', text });
