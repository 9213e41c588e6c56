import type { ObservedEnd } from '../core/ports.ts';

/** A call that waited or was held for longer is worth a line in the log. */
const LONG_MS = 5_000;

/** Outcomes of which nobody says that the call went wrong. Clients that tell none would fill the log, a line a call. */
const UNREMARKABLE: ReadonlySet<ObservedEnd['outcome']> = new Set(['ok', 'unknown', 'unused']);

/** Whether somebody who reads the log wants to know of the call: it was slow, went wrong, or was not given back. */
export function isNoteworthy({ outcome, ended, waitedMs, grantedAtMs, endedAtMs }: ObservedEnd): boolean {
  if (!UNREMARKABLE.has(outcome) || ended !== 'released') return true;
  return waitedMs > LONG_MS || endedAtMs - grantedAtMs > LONG_MS;
}

/** A call that has ended as one line of `key=value`, as logfmt has it: never with a token, key or body. */
export function callLine(call: ObservedEnd): string {
  const fields: Readonly<Record<string, string | number | bigint | undefined>> = {
    account: call.account,
    outcome: call.late ? `${call.outcome}-late` : call.outcome,
    ended: call.ended,
    waited_ms: Math.round(call.waitedMs),
    held_ms: Math.round(call.endedAtMs - call.grantedAtMs),
    priority: call.priority,
    lane: call.lane,
    holder: call.holder,
    pid: call.pid,
    label: call.label,
    nonce: call.nonce,
  };
  const pairs = Object.entries(fields).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${quoted(String(value))}`],
  );
  return `call ${pairs.join(' ')}`;
}

/** As it is where it is one plain word; otherwise in quotes, with what would end them escaped. */
function quoted(text: string): string {
  return /^[^\s"=\\]+$/.test(text) ? text : JSON.stringify(text);
}
