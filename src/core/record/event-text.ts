import { formatDuration } from '../../durations.ts';
import { processText } from '../../process-text.ts';
import { MAX_ACCOUNTS } from '../../terms.ts';
import type { BrokerEvent, ObservedCall } from '../ports.ts';

const DAY_MS = 86_400_000;

/** An event as a log or a list of events shows it. */
export interface EventText {
  /** `warn` needs attention, `error` needs it now. */
  readonly severity: 'error' | 'warn' | 'info' | 'debug';
  /** In one line: the fact, then what to do about it, if anything. */
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
        `the state cannot be written (${event.error.message}); grants go on below the durable ceiling while it is tried again`,
      );
    case 'write-recovered':
      return info('the state can be written again');
    case 'clock-changed':
      return clockText(event);
    case 'ahead':
      return warn(
        `sequence ${event.sequence} is ${formatDuration(event.leadMs)} ahead of the clock and goes on from there`,
      );
    case 'register-filled':
      return warn(registerText(event));
    case 'rejected':
      return warn(rejectedText(event.call, event.before));
    case 'breaker-changed':
      return event.openFor === undefined
        ? info(`account ${event.account} is no longer quarantined`)
        : warn(
            `account ${event.account} is quarantined, and only probes are let through: ` +
              `${BREAKER_CAUSE[event.openFor]}. See: nonced why ${event.account}`,
          );
    case 'exchange-changed':
      return event.isDown
        ? warn(`exchange ${event.exchange} does not answer: only urgent calls and probes are let through until it does`)
        : info(`exchange ${event.exchange} answers again`);
    case 'caller-changed': {
      const who = processText(event.holder, event.pid);
      return event.isHeldBack
        ? warn(
            `only ${who} gets no answer from exchange ${event.exchange}: only its urgent calls and probes are let through ` +
              'until it does. Look at its proxy, DNS and URL first',
          )
        : info(`${who} gets answers from exchange ${event.exchange} again`);
    }
    case 'instance-refused':
      return warn(
        `${processText(event.holder, event.pid)} refuses this daemon, because it knew instance ${event.expected}; if the ` +
          'state is the right one, restart that bot',
      );
    case 'key-changed':
      return warn(
        `account ${event.account} has another API key than before; unless the key was replaced, a bot uses the wrong label`,
      );
    case 'paused':
      return info(`an operator has paused account ${event.account}`);
    case 'resumed':
      return info(`an operator has resumed account ${event.account}`);
    case 'exclusion-changed':
      return info(`an operator has changed the exclusion policy: ${event.before} -> ${event.after}`);
    case 'advanced':
      return info(`an operator has advanced sequence ${event.sequence}: ${event.before} -> ${event.after}`);
    case 'configured':
      // The log has a line of its own for a reload, with the file's name.
      return { severity: 'debug', text: 'a configuration is in effect' };
    case 'configuration-refused':
      return error(`the new configuration was refused and nothing was changed: ${event.problem}`);
    case 'drain-changed':
      return event.isDraining
        ? warn('an operator is draining the daemon: only urgent calls begin, until a restart or `nonced drain --off`')
        : info('an operator has ended the drain: all calls are let through again');
    case 'started':
      return { severity: 'debug', text: 'the daemon has started' };
  }
}

/** Returns the account, exchange or sequence that an event is about. */
export function subjectOf(event: BrokerEvent): string | undefined {
  if ('account' in event) return event.account;
  if ('exchange' in event) return event.exchange;
  return 'sequence' in event ? event.sequence : undefined;
}

/** Returns which client made a call and for which account, for a log. */
export function holderText({ account, holder, pid, label }: ObservedCall): string {
  return processText(holder ?? 'an unnamed program', pid, account, label);
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
      return warn(
        'the clock is behind the latest time that the state has seen; nonces go on from the last one until it is set',
      );
    case 'followed':
      return info(`the clock is followed again (${off} off)`);
  }
}

function registerText({ named, isFull }: BrokerEvent & { kind: 'register-filled' }): string {
  return (
    `the state names ${named} of at most ${MAX_ACCOUNTS} accounts` +
    (isFull ? ', and no new account gets a name: those of other sequences than the default one are refused' : '') +
    '. Bots that use a label for each order fill it; let them use one for each key. See: nonced status'
  );
}

function rejectedText(call: ObservedCall, before: ObservedCall | undefined): string {
  const nonce = call.nonce ?? '(from before a restart)';
  const earlier = before === undefined ? 'no client that is remembered' : holderText(before);
  return (
    `the exchange rejected nonce ${nonce} of account ${call.account}, reported by ${holderText(call)}; ` +
    `before it the lane was held by ${earlier}. See: nonced why ${call.account}`
  );
}

const error = (text: string): EventText => ({ severity: 'error', text });
const warn = (text: string): EventText => ({ severity: 'warn', text });
const info = (text: string): EventText => ({ severity: 'info', text });
