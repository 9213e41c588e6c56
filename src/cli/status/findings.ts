import { formatDuration } from '../../durations.ts';
import type { AccountStatus, LaneStatus, StatusResult } from '../../protocol/messages.ts';

/** 2: look now. 1: look soon. 0: worth knowing, and no reason for an alarm. */
export type Severity = 0 | 1 | 2;

/** Something unusual: the fact, and what to do about it. */
export interface Finding {
  readonly severity: Severity;
  readonly text: string;
  readonly todo: string;
}

export const LONG_LEAD_MS = 60_000;
export const LONG_WAIT_MS = 10_000;
/** A call that was held for longer has a line in the daemon's log, too. */
const LONG_HOLD_MS = 5_000;
const DAY_MS = 86_400_000;

const TROUBLE = { 'invalid-nonce': 'its nonces are rejected', 'locked-out': 'the exchange has locked its key out' };

/** What is unusual, the worst first. `unlisted` are quarantined accounts past those that a status lists. */
export function findings(status: StatusResult, unlisted: readonly string[] = []): Finding[] {
  const found = [
    ...ofTheDisk(status),
    ...status.exchanges.flatMap(ofExchange),
    ...status.accounts.flatMap(ofBreaker),
    ...unlisted.map((account) => quarantined(account, 'see why')),
    ...ofTheDrain(status),
    ...status.paused.map((account) => soon(`account ${account} is paused`, `nonced resume ${account}`)),
    ...ofTheConfiguration(status),
    ...ofTheClock(status),
    ...status.sequences.flatMap(ofSequence),
    ...status.lanes.flatMap((lane) => ofWaiters(lane, status.exclusive)),
    ...status.accounts.flatMap(ofRejected),
    ...status.lanes.flatMap(ofHolders),
  ];
  return found.sort((a, b) => b.severity - a.severity);
}

function ofTheDisk({ durability: { state, problem } }: StatusResult): Finding[] {
  switch (state) {
    case 'durable':
      return [];
    case 'retrying':
      return [
        now(
          `the state cannot be written: ${problem}`,
          'make room on the disk, or mount it writable; until then calls go on with what is reserved',
        ),
      ];
    case 'slow':
      return [soon('a write of the state has taken for over a second', 'look at the disk: dmesg, iostat -x')];
  }
}

function ofExchange({ exchange, downForMs }: StatusResult['exchanges'][number]): Finding[] {
  if (downForMs === null) return [];
  return [
    now(
      `exchange ${exchange} has not answered for ${formatDuration(downForMs)}`,
      'look at its status page; urgent calls and a probe every 5 s go through, and the first answer ends it',
    ),
  ];
}

function ofBreaker({ account, breaker }: AccountStatus): Finding[] {
  if (breaker === null) return [];
  const probe =
    breaker.probeInMs > 0 ? `the next call is tried in ${formatDuration(breaker.probeInMs)}` : 'the next call is tried';
  return [quarantined(account, `${TROUBLE[breaker.openFor]}, ${probe}`)];
}

function quarantined(account: string, why: string): Finding {
  return now(
    `account ${account} is quarantined: ${why}`,
    `nonced why ${account}; once the cause is gone: nonced resume ${account}`,
  );
}

function ofTheDrain({ drainingForMs }: StatusResult): Finding[] {
  if (drainingForMs === null) return [];
  return [
    soon(
      `draining for ${formatDuration(drainingForMs)}: only urgent calls begin`,
      'nonced drain says what is left; nonced drain --off ends it, and so does a restart',
    ),
  ];
}

function ofTheConfiguration({ configurationProblem }: StatusResult): Finding[] {
  if (configurationProblem === null) return [];
  return [
    soon(
      `the configuration that was read last is not in effect: ${configurationProblem}`,
      'correct it and reload; the old one holds, but the next start will refuse this one',
    ),
  ];
}

function ofTheClock({ clock: { state, offMs } }: StatusResult): Finding[] {
  switch (state) {
    case 'followed':
      return [];
    case 'not-followed':
      return [
        soon(
          `the clock jumped ${formatDuration(offMs)} ahead and is not followed`,
          `is it wrong? Set it. Is it right? nonced advance --to now ${offMs > DAY_MS ? '--force' : '--yes'}`,
        ),
      ];
    case 'behind':
      return [soon('the clock is behind what the state has seen', 'set it; until then nonces go on from the last one')];
  }
}

function ofSequence({ name, leadMs }: StatusResult['sequences'][number]): Finding[] {
  if (leadMs === null || leadMs <= LONG_LEAD_MS) return [];
  return [
    soon(
      `sequence ${name} is ${formatDuration(leadMs)} ahead of the clock`,
      'harmless by itself; if nobody has advanced it and the clock was not set back, find who draws so many nonces',
    ),
  ];
}

function ofWaiters({ lane, waiting, oldestWaitMs, waiters }: LaneStatus, policy: string): Finding[] {
  if (oldestWaitMs <= LONG_WAIT_MS) return [];
  const late = waiters.filter(({ waitedMs }) => waitedMs > LONG_WAIT_MS);
  const first = late.find(({ paced }) => !paced) ?? late[0];
  const many = waiting === 1 ? '1 waits' : `${waiting} wait`;
  const text = `${many} for lane ${lane}, the longest for ${formatDuration(oldestWaitMs)}`;
  if (first === undefined) return [soon(text, 'nonced status --all')];
  const who = `${text}: ${first.account}, ${processText(first)}`;
  if (first.paced) {
    return [soon(`${who}, for its account's pace`, 'it waits for no other call: make fewer calls, or raise its pace')];
  }
  const apart = policy === 'global' ? ', or let accounts go side by side: nonced set-exclusive account' : '';
  return [soon(who, `who holds the lane is below: shorten its calls, make polls background${apart}`)];
}

function ofRejected({ account, breaker, rejectedLastHour }: AccountStatus): Finding[] {
  if (rejectedLastHour === 0 || breaker !== null) return [];
  const nonces = rejectedLastHour === 1 ? 'a nonce' : `${rejectedLastHour} nonces`;
  return [soon(`account ${account} had ${nonces} rejected within the hour`, `nonced why ${account}`)];
}

function ofHolders({ holders }: LaneStatus): Finding[] {
  return holders
    .filter(({ heldMs }) => heldMs > LONG_HOLD_MS)
    .map((holder) => {
      const label = holder.label === null ? '' : `, ${holder.label}`;
      const times = `${formatDuration(holder.heldMs)} of ${formatDuration(holder.heldMs + holder.leftMs)}`;
      return {
        severity: 0,
        text: `a call of ${holder.account} has taken ${times}: ${processText(holder)}${label}`,
        todo: 'if it hangs, end that process: its turn ends with it. What it has sent may have arrived',
      };
    });
}

/** Who it is that holds or waits: its name and process. */
function processText({ name, pid }: { readonly name: string | null; readonly pid: number | null }): string {
  return `${name ?? 'unnamed'} (pid ${pid ?? '?'})`;
}

const now = (text: string, todo: string): Finding => ({ severity: 2, text, todo });
const soon = (text: string, todo: string): Finding => ({ severity: 1, text, todo });
