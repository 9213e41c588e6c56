import { formatDuration } from '../../durations.ts';
import { processText } from '../../process-text.ts';
import type { AccountStatus, LaneStatus, StatusResult } from '../../protocol/messages.ts';
import { type Finding, LONG_WAIT_MS } from './finding.ts';
import { type HowToType, PLAIN } from './how-to-type.ts';
import { ofRefusals } from './refusal-findings.ts';

export const LONG_LEAD_MS = 60_000;
/** A call that was held for longer has a line in the daemon's log, too. */
const LONG_HOLD_MS = 5_000;
/** So many calls in a row that do not say how they ended are no accident. */
const SILENT = 20;
const DAY_MS = 86_400_000;
/** How many bots a finding names. It counts the others. */
const NAMED = 8;
/** Enough digits of an instance to tell two apart. */
const INSTANCE_DIGITS = 8;

const TROUBLE = { 'invalid-nonce': 'its nonces are rejected', 'locked-out': 'the exchange has locked its key out' };

export interface FindingOptions {
  /** Quarantined accounts that the status does not list. */
  readonly unlisted?: readonly string[];
  readonly type?: HowToType;
}

/** Returns what is unusual, the worst first. */
export function findings(status: StatusResult, { unlisted = [], type = PLAIN }: FindingOptions = {}): Finding[] {
  const found = [
    ...ofTheDisk(status, type),
    ...ofRefusingClients(status, type),
    ...status.exchanges.flatMap((exchange) => ofExchange(exchange, type)),
    ...status.accounts.flatMap((account) => ofBreaker(account, type)),
    ...unlisted.map((account) => quarantined(account, 'see why', type)),
    ...ofTheDrain(status, type),
    ...status.paused.map((account) => paused(account, type)),
    ...ofTheConfiguration(status),
    ...ofTheRegister(status, type),
    ...ofTheClock(status, type),
    ...status.sequences.flatMap((sequence) => ofSequence(sequence, type)),
    ...status.lanes.flatMap((lane) => ofWaiters(lane, status.exclusive, type)),
    ...status.accounts.flatMap((account) => ofRejected(account, type)),
    ...status.accounts.flatMap((account) => ofSilent(account, type)),
    ...(status.refusals ?? []).flatMap((refusals) => ofRefusals(refusals, type)),
    ...status.lanes.flatMap((lane) => ofHolders(lane, type)),
  ];
  return found.sort((a, b) => b.severity - a.severity);
}

function ofTheDisk({ durability: { state, problem } }: StatusResult, type: HowToType): Finding[] {
  switch (state) {
    case 'durable':
      return [];
    case 'retrying':
      return [
        now(
          `the state cannot be written: ${problem}`,
          'make room on the disk, or mount it writable; until then calls go on with the nonces in reserve',
          type.operate('doctor'),
        ),
      ];
    case 'slow':
      return [
        soon(
          'a write of the state has taken for over a second',
          'look at the disk: dmesg, iostat -x',
          type.operate('doctor'),
        ),
      ];
  }
}

function ofRefusingClients({ instance, refusingClients = [] }: StatusResult, type: HowToType): Finding[] {
  if (refusingClients.length === 0) return [];
  const short = (whole: string) => whole.slice(0, INSTANCE_DIGITS);
  const clients = refusingClients.length === 1 ? '1 client has' : `${refusingClients.length} clients have`;
  const longest = formatDuration(Math.max(...refusingClients.map(({ forMs }) => forMs)));
  const known = enumerated([...new Set(refusingClients.map(({ expected }) => short(expected)))]);
  const bots = enumerated(refusingClients.map(({ name, pid }) => processText(name, pid)));
  return [
    now(
      `${clients} refused this daemon for ${longest}, because it is instance ${short(instance)} and not ${known} as before; ` +
        `if its state is the right one, restart these bots: ${bots}`,
      'until then all their calls fail; if the state is the wrong one, stop the daemon and put the right one back',
      type.operate('doctor'),
    ),
  ];
}

function enumerated(all: readonly string[]): string {
  const named = all.slice(0, NAMED).join(', ');
  return all.length > NAMED ? `${named} and ${all.length - NAMED} more` : named;
}

function ofExchange(
  { exchange, downForMs, heldBack = [] }: StatusResult['exchanges'][number],
  type: HowToType,
): Finding[] {
  if (downForMs === null) {
    return heldBack.map(({ name, pid, forMs }) =>
      now(
        `only ${processText(name, pid)} has got no answer from exchange ${exchange}, for ${formatDuration(forMs)}`,
        'look at its proxy, DNS and URL first; until it gets one, only its urgent calls and a probe every 5 s go through',
        type.look('top'),
      ),
    );
  }
  return [
    now(
      `exchange ${exchange} has not answered for ${formatDuration(downForMs)}`,
      'look at its status page; until it answers, only urgent calls and a probe every 5 s go through',
      type.look('top'),
    ),
  ];
}

function ofBreaker({ account, breaker }: AccountStatus, type: HowToType): Finding[] {
  if (breaker === null) return [];
  const probe =
    breaker.probeInMs > 0 ? `the next call is tried in ${formatDuration(breaker.probeInMs)}` : 'the next call is tried';
  return [quarantined(account, `${TROUBLE[breaker.openFor]}, ${probe}`, type)];
}

function quarantined(account: string, why: string, type: HowToType): Finding {
  return now(
    `account ${account} is quarantined: ${why}`,
    `${type.look(`why ${account}`)}; once the cause is gone: ${type.operate(`resume ${account}`)}`,
    type.look(`why ${account}`),
  );
}

function ofTheDrain({ drainingForMs }: StatusResult, type: HowToType): Finding[] {
  if (drainingForMs === null) return [];
  return [
    soon(
      `draining for ${formatDuration(drainingForMs)}: only urgent calls begin`,
      `${type.operate('drain')} says what is left; ${type.operate('drain --off')} ends it, and so does a restart`,
      type.look('top'),
    ),
  ];
}

function paused(account: string, type: HowToType): Finding {
  return soon(`account ${account} is paused`, type.operate(`resume ${account}`), type.look(`why ${account}`));
}

function ofTheConfiguration({ configurationProblem }: StatusResult): Finding[] {
  if (configurationProblem === null) return [];
  return [
    soon(
      `the configuration that was read last is not in effect: ${configurationProblem}`,
      'correct it and reload; the old one stays in effect, but the next start will refuse this one',
    ),
  ];
}

function ofTheRegister({ register }: StatusResult, type: HowToType): Finding[] {
  if (register === undefined || register.state === 'roomy') return [];
  const { named, max, state } = register;
  const full = state === 'full' ? ', and no new account gets a name' : '';
  return [
    soon(
      `the state names ${named} of at most ${max} accounts${full}`,
      'if bots use a label for each order, let them use one for each key. Then stop the daemon and make room: ' +
        type.repair("state forget 'order-*'"),
      type.look('status --all'),
    ),
  ];
}

function ofTheClock({ clock: { state, offMs } }: StatusResult, type: HowToType): Finding[] {
  switch (state) {
    case 'followed':
      return [];
    case 'not-followed': {
      const accept = type.operate(`advance --to now ${offMs > DAY_MS ? '--force' : '--yes'}`);
      return [
        soon(
          `the clock jumped ${formatDuration(offMs)} ahead and is not followed`,
          `if it is wrong, set it; if it is right: ${accept}`,
          'timedatectl',
        ),
      ];
    }
    case 'behind':
      return [
        soon(
          'the clock is behind what the state has seen',
          'set it; until then nonces go on from the last one',
          'timedatectl',
        ),
      ];
  }
}

function ofSequence({ name, leadMs }: StatusResult['sequences'][number], type: HowToType): Finding[] {
  if (leadMs === null || leadMs <= LONG_LEAD_MS) return [];
  return [
    soon(
      `sequence ${name} is ${formatDuration(leadMs)} ahead of the clock`,
      'harmless by itself; unless an operator advanced it or set the clock back, find the bot that draws so many nonces',
      type.look('top'),
    ),
  ];
}

function ofWaiters({ lane, waiting, oldestWaitMs, waiters }: LaneStatus, policy: string, type: HowToType): Finding[] {
  if (oldestWaitMs <= LONG_WAIT_MS) return [];
  const late = waiters.filter(({ waitedMs }) => waitedMs > LONG_WAIT_MS);
  const first = late.find(({ paced }) => !paced) ?? late[0];
  const many = waiting === 1 ? '1 waits' : `${waiting} wait`;
  const text = `${many} for lane ${lane}, the longest for ${formatDuration(oldestWaitMs)}`;
  const all = type.look('status --all');
  if (first === undefined) return [soon(text, all, all)];
  const who = `${text}: ${first.account}, ${processText(first.name, first.pid)}`;
  if (first.paced) {
    return [
      soon(
        `${who}, for its account's pace`,
        'no other call holds it up: make fewer calls, or raise its pace',
        type.look('top'),
      ),
    ];
  }
  const apart =
    policy === 'global' ? `, or let accounts run side by side: ${type.operate('set-exclusive account')}` : '';
  return [soon(who, `the holder is listed below: shorten its calls, make polls background${apart}`, type.look('top'))];
}

function ofRejected({ account, breaker, rejectedLastHour }: AccountStatus, type: HowToType): Finding[] {
  if (rejectedLastHour === 0 || breaker !== null) return [];
  const nonces = rejectedLastHour === 1 ? 'a nonce' : `${rejectedLastHour} nonces`;
  const why = type.look(`why ${account}`);
  return [soon(`account ${account} had ${nonces} rejected within the hour`, why, why)];
}

function ofSilent({ account, silentInARow = 0 }: AccountStatus, type: HowToType): Finding[] {
  if (silentInARow < SILENT) return [];
  return [
    {
      severity: 0,
      text: `the last ${silentInARow} calls of ${account} did not say how they ended`,
      todo: 'so rejected nonces go unnoticed. Let its programs tell the `outcome` of a call (docs/client.md)',
      next: type.look(`why ${account}`),
    },
  ];
}

function ofHolders({ holders }: LaneStatus, type: HowToType): Finding[] {
  return holders
    .filter(({ heldMs }) => heldMs > LONG_HOLD_MS)
    .map((holder) => {
      const label = holder.label === null ? '' : `, ${holder.label}`;
      const times = `${formatDuration(holder.heldMs)} of ${formatDuration(holder.heldMs + holder.leftMs)}`;
      return {
        severity: 0,
        text: `a call of ${holder.account} has taken ${times}: ${processText(holder.name, holder.pid)}${label}`,
        todo: 'if it hangs, end that process: its lease ends with it. What it has sent may have arrived',
        next: type.look('top'),
      };
    });
}

const now = (text: string, todo: string, next?: string): Finding => ({ severity: 2, text, todo, next });
const soon = (text: string, todo: string, next?: string): Finding => ({ severity: 1, text, todo, next });
