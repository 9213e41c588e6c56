import { connect, type Status } from '../../client/index.ts';
import { describe, formatDuration, paint, printJson, printLine } from '../output.ts';
import { quoteForShell } from '../systemd/program.ts';
import { tableOf } from '../table.ts';

export interface StatusOptions {
  readonly json: boolean;
  readonly check: boolean;
  readonly socket?: string;
}

// A daemon that is just being restarted is back within it; where none runs, a person waits for this.
const CONNECT_TIMEOUT_MS = 1_000;
const LONG_LEAD_MS = 60_000;
const LONG_WAIT_MS = 10_000;

const TROUBLE = { 'invalid-nonce': 'nonces are rejected', 'locked-out': 'its key is locked out' } as const;

type Severity = 0 | 1 | 2;

/** Shows what the daemon is doing; with `check` one line and an exit code for monitoring. */
export async function status({ json, check, socket }: StatusOptions): Promise<void> {
  let found: Status;
  try {
    const client = await connect({ name: 'nonced status', socket, connectTimeoutMs: CONNECT_TIMEOUT_MS });
    try {
      found = await client.status();
    } finally {
      await client.close();
    }
  } catch (error) {
    if (!check) throw error;
    // Monitoring plugins have their own scale, in which no answer is critical, and say it on standard output.
    printLine(`NONCED CRITICAL - ${describe(error)}`);
    process.exitCode = 2;
    return;
  }
  if (check) printCheck(found);
  else if (json) printJson(found);
  else printStatus(found);
}

export interface StatusFinding {
  readonly severity: Severity;
  readonly text: string;
  readonly fix: string;
  /** What to type. */
  readonly command: string;
}

/** What is unusual, worst first. */
export function findings(status: Status): readonly StatusFinding[] {
  const found: StatusFinding[] = [];
  const { durability, clock, sequences, lanes, exchanges, accounts, paused } = status;
  if (durability.state === 'retrying') {
    found.push({
      severity: 2,
      text: `the state cannot be written: ${durability.problem}`,
      fix: 'make room, or remount it; it recovers by itself',
      command: 'df -h; df -i',
    });
  }
  if (durability.state === 'slow') {
    found.push({
      severity: 1,
      text: 'a write of the state has taken for over a second; look at the disk',
      fix: 'find out what keeps the disk busy, or whether it fails',
      command: 'sudo dmesg | tail',
    });
  }
  if (clock.state === 'not-followed') {
    const off = formatDuration(clock.offMs);
    found.push({
      severity: 1,
      text: `the clock jumped ${off} ahead and is not followed (nonced advance --to now --yes accepts it)`,
      fix: 'if the clock is wrong, set it; if it is right, accept it, which cannot be undone',
      command: 'sudo nonced advance --to now --yes',
    });
  }
  if (clock.state === 'behind') {
    found.push({
      severity: 1,
      text: 'the clock is behind what the state has seen',
      fix: 'set the clock',
      command: 'timedatectl',
    });
  }
  for (const { exchange, downForMs } of exchanges) {
    if (downForMs === null) continue;
    found.push({
      severity: 2,
      text: `exchange ${exchange} has not answered for ${formatDuration(downForMs)}`,
      fix: "see the exchange's status page; urgent calls and probes go through",
      command: 'nonced status',
    });
  }
  for (const { account, breaker } of accounts) {
    if (breaker !== null)
      found.push({
        severity: 2,
        text: `account ${account} is quarantined: ${TROUBLE[breaker.openFor]} (nonced why ${account})`,
        fix: 'see what it is due to, and what to do',
        command: `nonced why ${quoteForShell(account)}`,
      });
  }
  for (const account of paused) {
    found.push({
      severity: 1,
      text: `account ${account} is paused (nonced resume ${account})`,
      fix: 'an operator did it; if the reason is gone, let it go on',
      command: `sudo nonced resume ${quoteForShell(account)}`,
    });
  }
  for (const { name, leadMs } of sequences) {
    if (leadMs !== null && leadMs > LONG_LEAD_MS) {
      found.push({
        severity: 1,
        text: `sequence ${name} is ${formatDuration(leadMs)} ahead of the clock`,
        fix: 'nothing by itself: the clock catches up; if nobody has advanced it, see who draws so fast',
        command: 'nonced status',
      });
    }
  }
  for (const { lane, oldestWaitMs, waiting } of lanes) {
    if (oldestWaitMs > LONG_WAIT_MS) {
      found.push({
        severity: 1,
        text: `${waiting} wait for lane ${lane}, the first for ${formatDuration(oldestWaitMs)}`,
        fix: 'see who holds it: a call that hangs wants a shorter ttlMs, a busy lane another exclusion policy',
        command: 'nonced status',
      });
    }
  }
  return found.sort((a, b) => b.severity - a.severity);
}

function printCheck(status: Status): void {
  const found = findings(status);
  const worst = found[0]?.severity ?? 0;
  const { leases, waiting, grants } = status.totals;
  const word = (['OK', 'WARNING', 'CRITICAL'] as const)[worst];
  const text =
    found.length > 0 ? found.map((finding) => finding.text).join('; ') : `${leases} held, ${waiting} waiting`;
  printLine(`NONCED ${word} - ${text} | leases=${leases} waiting=${waiting} grants=${grants}c`);
  process.exitCode = worst;
}

function printStatus(status: Status): void {
  const { totals, durability } = status;
  printLine(
    `${paint('bold', `nonced ${status.version}`)}  pid ${status.pid}, up ${formatDuration(status.uptimeMs)}, ` +
      `epoch ${status.epoch}, exclusion ${paint('bold', status.exclusive)}`,
  );
  for (const { severity, text } of findings(status)) printLine(paint(severity === 2 ? 'red' : 'yellow', `! ${text}`));
  printLine(
    `${totals.grants} calls granted, ${totals.nonces} nonces (${totals.noncesPerSecond.toFixed(1)}/s), ` +
      `${totals.leases} held, ${totals.waiting} waiting, ${totals.connections} connections, ${durability.writes} writes`,
  );
  section('SEQUENCE', ['unit', 'last', 'ceiling', 'lead', 'issued'], status.sequences, ({ name, ...sequence }) => [
    name,
    sequence.unit,
    String(sequence.last),
    String(sequence.ceiling),
    sequence.leadMs === null ? '-' : formatDuration(sequence.leadMs),
    String(sequence.issued),
  ]);
  section(
    'LANE',
    ['held by', 'for', 'left', 'waiting', 'oldest'],
    status.lanes,
    ({ lane, holders, waiting, oldestWaitMs }) => {
      const [holder] = holders;
      const rest = [String(waiting), waiting > 0 ? formatDuration(oldestWaitMs) : '-'];
      if (holder === undefined) return [lane, '-', '-', '-', ...rest];
      const others = holders.length > 1 ? ` and ${holders.length - 1} more` : '';
      const who = `${holder.account} (${holder.name ?? 'unnamed'}, pid ${holder.pid ?? '?'})${others}`;
      return [lane, who, formatDuration(holder.heldMs), formatDuration(holder.leftMs), ...rest];
    },
  );
  section(
    'ACCOUNT',
    ['grants', 'nonces', 'waiting', 'idle', 'last ok', 'rejected', 'pace', 'sequence'],
    status.accounts,
    (account) => [
      account.account,
      String(account.grants),
      String(account.nonces),
      String(account.waiting),
      formatDuration(account.idleMs),
      account.okAgoMs === null ? '-' : `${formatDuration(account.okAgoMs)} ago`,
      account.rejected === 0 ? '-' : `${account.rejected} (${account.rejectedInARow} in a row)`,
      paceText(account.pace),
      account.sequence,
    ],
  );
}

function paceText(pace: Status['accounts'][number]['pace']): string {
  if (pace === null) return '-';
  const next = pace.nextFreeMs === 0 ? '' : `, next in ${formatDuration(pace.nextFreeMs)}`;
  return `${pace.level.toFixed(1)} of ${pace.max} used${next}`;
}

function section<T>(
  title: string,
  columns: readonly string[],
  items: readonly T[],
  row: (item: T) => readonly string[],
): void {
  if (items.length === 0) return;
  const [heading = '', ...lines] = tableOf([[title, ...columns], ...items.map(row)]);
  printLine();
  printLine(paint('dim', heading));
  for (const line of lines) printLine(line);
}
