import { askOnce } from '../../client/ask.ts';
import { surroundings } from '../../client/connection/host.ts';
import { findSocket } from '../../client/connection/socket-path.ts';
import { formatDuration } from '../../durations.ts';
import { processText } from '../../process-text.ts';
import type { AccountStatus, WhyCall, WhyResult } from '../../protocol/messages.ts';
import { type HowToType, howToTypeHere } from '../status/how-to-type.ts';
import { textOf } from '../status/refusal-findings.ts';
import { tableOf } from '../terminal/table.ts';
import type { Paint, Terminal } from '../terminal/terminal.ts';

export interface WhyOptions {
  /** How many calls to list; the daemon returns at most 100. */
  readonly count: number;
  readonly json: boolean;
  readonly socket?: string;
}

/** Shows an account's last calls, and the probable cause of a rejected nonce. */
export async function why(account: string, { count, json, socket }: WhyOptions, terminal: Terminal): Promise<void> {
  const path = findSocket(socket, surroundings()).path;
  const result = await askOnce<WhyResult>(path, 'why', { account });
  if (json) terminal.printJson({ ...result, calls: result.calls.slice(0, count) });
  else
    for (const line of linesOf(result, count, howToTypeHere(socket, terminal.env), terminal.paint))
      terminal.printLine(line);
}

/**
 * Returns what a person reads: the state of the account, the verdict, the rejected call, and the last `count` calls.
 */
export function linesOf(result: WhyResult, count: number, type: HowToType, paint: Paint): string[] {
  const { account, exclusive, unit, leadMs, held, paused, status, calls, rejected, verdict } = result;
  const sequence = status === null ? '' : `sequence ${status.sequence}, `;
  const lead = leadMs === null ? '' : `, lead ${formatDuration(leadMs)}`;
  const lines = [
    `${paint('bold', account)}  ${sequence}${unit}${lead}, exclusion ${exclusive}, ${held} held, ` +
      `${status?.waiting ?? 0} waiting`,
  ];
  if (paused) {
    lines.push(paint('yellow', `! paused: its calls are refused until ${type.operate(`resume ${account}`)}`));
  }
  const breaker = status?.breaker ?? null;
  if (breaker !== null) lines.push(paint('yellow', `! ${breakerText(breaker, type.operate(`resume ${account}`))}`));
  lines.push('', verdictLine(verdict, paint));
  for (const fix of verdict.fixes) lines.push(`  - ${fix}`);
  if (rejected !== null) {
    lines.push('', `rejected  ${told(rejected.call, account)}`);
    lines.push(
      rejected.before === null ? 'before    no earlier call is known' : `before    ${told(rejected.before, account)}`,
    );
  }
  lines.push(...refusalLines(result.refusals ?? [], paint));
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

/** Lists what was refused within the last ten minutes, each code with what the client was told last. */
function refusalLines(refusals: NonNullable<WhyResult['refusals']>, paint: Paint): string[] {
  if (refusals.length === 0) return [];
  return ['', ...refusals.flatMap((each) => [paint('yellow', `! ${textOf(each)}`), `    ${each.text}`])];
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

function verdictLine({ kind, sure, text }: WhyResult['verdict'], paint: Paint): string {
  return kind === 'none' ? paint('bold', text) : `${paint('red', `${kind} (${sure}):`)} ${text}`;
}

function breakerText({ openFor, probeInMs }: NonNullable<AccountStatus['breaker']>, resume: string): string {
  const cause = openFor === 'locked-out' ? 'the exchange has locked the key out' : 'its nonces are rejected';
  const probe = probeInMs > 0 ? `one is tried in ${formatDuration(probeInMs)}` : 'the next one is tried';
  return `quarantined: ${cause}. Its calls are refused; ${probe}. To end it now: ${resume}`;
}

/** Returns a call in one line, with its account only if that is not the one that was asked for. */
function told(call: WhyCall, account: string): string {
  const label = call.label === null ? '' : `, ${call.label}`;
  const whose = call.account === account ? '' : ` for ${call.account}`;
  const last = call.lastNonce === call.nonce || call.lastNonce === null ? '' : ` to ${call.lastNonce}`;
  const nonce = call.nonce === null ? 'a nonce from before the restart' : `${call.nonce}${last}`;
  const held = `${call.ended} after ${formatDuration(call.heldMs)}, ${formatDuration(call.agoMs)} ago`;
  return `${nonce}  ${processText(call.holder, call.pid)}${label}${whose}: ${held}, ${outcomeOf(call)}`;
}

const outcomeOf = ({ outcome, late }: WhyCall): string => (late ? `${outcome} (reported late)` : outcome);
