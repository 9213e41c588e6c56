import { askOnce } from '../../client/ask.ts';
import { surroundings } from '../../client/connection/host.ts';
import { findSocket } from '../../client/connection/socket-path.ts';
import { formatDuration } from '../../durations.ts';
import type { AccountStatus, WhyCall, WhyResult } from '../../protocol/messages.ts';
import { paint, printJson, printLine } from '../terminal/output.ts';
import { processText } from '../terminal/process-text.ts';
import { tableOf } from '../terminal/table.ts';

export interface WhyOptions {
  /** How many calls are listed; the daemon answers with at most 100. */
  readonly count: number;
  readonly json: boolean;
  readonly socket?: string;
}

/** Shows an account's last calls, and what a rejected nonce was probably due to. */
export async function why(account: string, { count, json, socket }: WhyOptions): Promise<void> {
  const path = findSocket(socket, surroundings()).path;
  const result = await askOnce<WhyResult>(path, 'why', { account });
  if (json) printJson({ ...result, calls: result.calls.slice(0, count) });
  else for (const line of linesOf(result, count)) printLine(line);
}

/** What a person reads: how the account stands, the verdict, the rejected call, and the last `count` calls. */
export function linesOf(result: WhyResult, count: number): string[] {
  const { account, exclusive, unit, leadMs, held, paused, status, calls, rejected, verdict } = result;
  const sequence = status === null ? '' : `sequence ${status.sequence}, `;
  const lead = leadMs === null ? '' : `, lead ${formatDuration(leadMs)}`;
  const lines = [
    `${paint('bold', account)}  ${sequence}${unit}${lead}, exclusion ${exclusive}, ${held} held, ` +
      `${status?.waiting ?? 0} waiting`,
  ];
  if (paused) {
    lines.push(paint('yellow', `! it is paused: its calls are refused until \`nonced resume ${account}\``));
  }
  const breaker = status?.breaker ?? null;
  if (breaker !== null) lines.push(paint('yellow', `! ${breakerText(account, breaker)}`));
  lines.push('', `${paint(verdict.kind === 'none' ? 'bold' : 'red', headline(verdict))} ${verdict.text}`);
  for (const fix of verdict.fixes) lines.push(`  - ${fix}`);
  if (rejected !== null) {
    lines.push('', `rejected  ${told(rejected.call, account)}`);
    lines.push(
      rejected.before === null ? 'before    no call is remembered' : `before    ${told(rejected.before, account)}`,
    );
  }
  const shown = calls.slice(0, count);
  if (shown.length > 0) {
    const [heading = '', ...rows] = tableOf([HEADING, ...shown.map(rowOf)]);
    lines.push('', paint('dim', heading));
    rows.forEach((row, index) => {
      lines.push(shown[index]?.outcome === 'invalid-nonce' ? paint('red', row) : row);
    });
  }
  return lines;
}

const HEADING = ['AGO', 'holder', 'pid', 'label', 'priority', 'nonce', 'waited', 'held', 'ended', 'outcome'];

function rowOf(call: WhyCall): string[] {
  return [
    formatDuration(call.agoMs),
    call.holder ?? '-',
    String(call.pid ?? '-'),
    call.label ?? '-',
    call.priority,
    String(call.nonce ?? '-'),
    formatDuration(call.waitedMs),
    formatDuration(call.heldMs),
    call.ended,
    outcomeOf(call),
  ];
}

function headline({ kind, sure }: WhyResult['verdict']): string {
  return kind === 'none' ? 'none:' : `${kind} (${sure}):`;
}

function breakerText(account: string, { openFor, probeInMs }: NonNullable<AccountStatus['breaker']>): string {
  const cause = openFor === 'locked-out' ? 'the exchange has locked the key out' : 'its nonces are being rejected';
  const wait = probeInMs > 0 ? `in ${formatDuration(probeInMs)}` : 'with the next call';
  return `its calls are refused, for ${cause}; one is tried ${wait}, or after \`nonced resume ${account}\``;
}

/** A call in a line; its account only where it is not the one that was asked for. */
function told(call: WhyCall, account: string): string {
  const label = call.label === null ? '' : `, ${call.label}`;
  const whose = call.account === account ? '' : ` for ${call.account}`;
  const last = call.lastNonce === call.nonce || call.lastNonce === null ? '' : ` to ${call.lastNonce}`;
  const nonce = call.nonce === null ? 'a nonce of before the restart' : `${call.nonce}${last}`;
  const held = `${call.ended} after ${formatDuration(call.heldMs)}, ${formatDuration(call.agoMs)} ago`;
  return `${nonce}  ${processText(call.holder, call.pid)}${label}${whose}: ${held}, ${outcomeOf(call)}`;
}

const outcomeOf = ({ outcome, late }: WhyCall): string => (late ? `${outcome} (told late)` : outcome);
