import { formatDuration } from '../../durations.ts';
import { type ErrorCode, needsAttention } from '../../errors.ts';
import { processText } from '../../process-text.ts';
import type { RefusalsStatus } from '../../protocol/messages.ts';
import { type Finding, LONG_WAIT_MS } from './finding.ts';
import type { HowToType } from './how-to-type.ts';

/** How a wait ends that its own client did not want to go on with. That is a trace only if the wait was long. */
const BY_ITS_CLIENT: readonly string[] = ['CANCELLED', 'DISCONNECTED'];
/** Bots ask again as soon as the daemon has restarted. */
const HARMLESS: readonly string[] = ['SHUTTING_DOWN'] satisfies ErrorCode[];

/** Returns what is unusual about requests that were refused lately. */
export function ofRefusals(refusals: RefusalsStatus, type: HowToType): Finding[] {
  const { account, code, longestWaitMs } = refusals;
  const isLong = longestWaitMs > LONG_WAIT_MS;
  if (HARMLESS.includes(code) || (BY_ITS_CLIENT.includes(code) && !isLong)) return [];
  const isWorse = needsAttention(code) || (code === 'WAIT_TIMEOUT' && isLong);
  const why = account === null ? undefined : type.look(`why ${account}`);
  return [{ severity: isWorse ? 1 : 0, text: textOf(refusals), todo: todoFor(code, why, type), next: why }];
}

/** Returns what was refused, in words: `account MASTER was refused 200 times within 3 min 20 s, …`. */
export function textOf(refusals: RefusalsStatus): string {
  const { account, lastAccount, code, count, forMs, agoMs, longestWaitMs, holder, pid, label } = refusals;
  const last = lastAccount === null ? '' : ` (the last for ${lastAccount})`;
  const whose = account === null ? `requests that cannot be told apart${last}` : `account ${account}`;
  const were = account === null ? 'were' : 'was';
  const times = count === 1 ? 'once' : `${count.toLocaleString('en')} times within ${formatDuration(forMs)}`;
  const waited = longestWaitMs >= 1 ? `, after up to ${formatDuration(longestWaitMs)}` : '';
  const by = processText(holder, pid, label ?? undefined);
  return `${whose} ${were} refused ${times}, ${formatDuration(agoMs)} ago: ${code}${waited}, by ${by}`;
}

function todoFor(code: string, why: string | undefined, type: HowToType): string {
  const more = why === undefined ? '' : `; ${why} shows the message`;
  switch (code) {
    case 'KEY_MISMATCH':
      return `use one label for the key in all bots${more}`;
    case 'UNIT_MISMATCH':
      return `do not change the unit of the bot before you know which one its key has seen${more}`;
    case 'WAIT_TIMEOUT':
    case 'CANCELLED':
    case 'DISCONNECTED':
      return `see what held the lane: ${type.look('timeline -o incident.html')}`;
    case 'NOT_DURABLE':
      return 'make room on the disk';
    case 'NESTED_LANE':
      return `release the first lease before the bot asks for one in another lane${more}`;
    case 'LIMIT':
      return `look for a bot that asks for too much at once${more}`;
    case 'PAUSED':
    case 'DRAINING':
    case 'QUARANTINED':
    case 'EXCHANGE_DOWN':
      return `these calls were not made; its bot must ask again${more}`;
    default:
      return why ?? 'look at the log of that program';
  }
}
