// A copy trader: reads orders, one a line, places them for the master and mirrors them to all followers.
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import type { Order } from '../kraken/orders.ts';
import {
  COMMON_HELP,
  COMMON_OPTIONS,
  type KeyEntry,
  numberOf,
  openAccounts,
  readKeys,
  runConnected,
  runProgram,
  UsageError,
} from '../kraken/settings.ts';
import { Mirror, type Share } from './mirror.ts';

const HELP = `usage: copy-trading [--master LABEL] < ORDERS

Reads one command a line, from a file, a pipe or the terminal:
  buy|sell VOLUME PAIR [PRICE]   at the market without a PRICE
  balances                       of all accounts

  --master LABEL   whose orders are mirrored; the first key if left out. All others follow, with VOLUME times the "scale"
                   of their key in the file (1 if there is none)
  --max-age S      a follower that has no lease so many seconds after the master gets no order; 10 if left out
${COMMON_HELP}

Exits 0 if every account got every order, 1 if one certainly did not, 2 if that is unknown of one.`;

await runProgram(async () => {
  const { values } = parseArgs({
    options: { ...COMMON_OPTIONS, master: { type: 'string' }, 'max-age': { type: 'string' } },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const keys = readKeys(values.keys ?? process.env['KRAKEN_KEYS']);
  const label = values.master ?? keys[0]?.account;
  const masterKey = keys.find(({ account }) => account === label);
  if (!masterKey) throw new UsageError(`no key for ${label}; name the account of one of the keys`);
  const userKeys = keys.filter((key) => key !== masterKey);
  const scales = userKeys.map(scaleOf);
  const maxAgeMs = numberOf('--max-age', values['max-age'], 10) * 1000;

  return runConnected('copy-trading', values.socket, async (nonced, stop) => {
    const [master, ...users] = openAccounts(nonced, [masterKey, ...userKeys], values);
    if (!master) throw new UsageError('no master');
    const mirror = new Mirror(
      master,
      users.map((account, index) => ({ account, scale: scales[index] ?? 1 })),
    );
    const { exclusive } = nonced.daemon;
    console.log(`${master.name} and ${users.length} followers; exclusion ${exclusive}`);
    if (exclusive === 'global')
      console.log('one call at a time for all: `nonced set-exclusive account` is faster here');
    return trade(mirror, maxAgeMs, stop);
  });
});

async function trade(mirror: Mirror, maxAgeMs: number, stop: AbortSignal): Promise<number> {
  // Only the master's own order keeps the next line waiting.
  const reports: Promise<readonly Share[]>[] = [];
  let orders = 0;
  let mistakes = 0;
  for await (const line of createInterface({ input: process.stdin, signal: stop })) {
    const words = line.trim().split(/\s+/);
    if (words[0] === '') continue;
    const order = orderOf(words);
    if (order) {
      const title = `order ${++orders}`;
      console.log(`${title}: ${words.join(' ')}`);
      const tell = (share: Share) => console.log(`${title}: ${sentence(share)}`);
      const { master, followers } = await mirror.place(order, { maxAgeMs, signal: stop, tell });
      reports.push(followers.then((shares) => report(title, master, shares)));
    } else if (line.trim() === 'balances') {
      reports.push(showBalances(mirror, stop));
    } else {
      console.error(`not understood: ${line}; write buy 0.25 XBTUSD, or sell 0.25 XBTUSD 37500, or balances`);
      mistakes += 1;
    }
  }
  const states = (await Promise.all(reports)).flat().map(({ placed }) => placed.state);
  if (states.includes('unknown')) return 2;
  return mistakes > 0 || states.some((state) => state !== 'placed') ? 1 : 0;
}

/** Prints which accounts got the order, once all are settled. Returns all shares. */
function report(title: string, master: Share, followers: readonly Share[]): readonly Share[] {
  console.log(`${title}: ${summary(master, followers)}`);
  return [master, ...followers];
}

async function showBalances(mirror: Mirror, signal: AbortSignal): Promise<readonly Share[]> {
  for (const { account, balance } of await mirror.balances(signal)) {
    const text = balance.state === 'answered' ? JSON.stringify(balance.result) : `${balance.state}: ${balance.why}`;
    console.log(`${account}  ${text}`);
  }
  return [];
}

function orderOf([side, volume = '', pair, price, ...rest]: readonly string[]): Order | undefined {
  const isAmount = (text: string) => /^\d+(\.\d+)?$/.test(text) && Number(text) > 0;
  if ((side !== 'buy' && side !== 'sell') || !isAmount(volume) || !pair || rest.length > 0) return undefined;
  if (price === undefined) return { side, volume, pair };
  return isAmount(price) ? { side, volume, pair, price } : undefined;
}

function sentence({ account, volume, placed }: Share): string {
  if (placed.state === 'placed') {
    return `${account} placed ${volume}, ${placed.txid}${placed.foundByLookup ? ', found by looking it up' : ''}`;
  }
  return `${account} ${placed.state}: ${placed.why} (${placed.clOrdId})`;
}

function summary(master: Share, shares: readonly Share[]): string {
  if (master.placed.state !== 'placed')
    return `not mirrored, because the order of ${master.account} is ${master.placed.state}`;
  const without = shares.filter(({ placed }) => placed.state !== 'placed');
  const names = without.map(({ account, placed }) => `${account} ${placed.state}`).join(', ');
  return `${shares.length - without.length} of ${shares.length} got it${names && `; ${names}`}`;
}

function scaleOf({ account, scale = 1 }: KeyEntry): number {
  if (typeof scale === 'number' && scale > 0 && Number.isFinite(scale)) return scale;
  throw new UsageError(`the scale of ${account} is not a number above 0; give one, or leave it out`);
}
