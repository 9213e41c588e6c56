// A broker on the command line: one account, one order or question. `--help` shows how.
import { parseArgs } from 'node:util';
import { CallFailed } from '../kraken/account.ts';
import type { Order } from '../kraken/orders.ts';
import {
  COMMON_HELP,
  COMMON_OPTIONS,
  openAccounts,
  readKeys,
  runConnected,
  runProgram,
  UsageError,
} from '../kraken/settings.ts';
import { KrakenBroker } from './broker.ts';
import { Exit, tellFailure, tellPlaced } from './output.ts';

const HELP = `usage: broker-adapter [--account LABEL] COMMAND

  connect                             one call that proves daemon, key and nonce
  balance
  market buy|sell VOLUME PAIR
  limit buy|sell VOLUME PAIR PRICE
  cancel ID                           of Kraken (O…) or of our own
  positions
  order ID                            what happened to an order

  --account LABEL  which of the keys; the first if left out
${COMMON_HELP}

An order whose answer is lost is looked up and never sent again. Exits 0 if it is done, 1 if it certainly is not, 2 if that
is unknown, 64 for a mistake in the command, 69 without a daemon.`;

await runProgram(async () => {
  const { values, positionals } = parseArgs({
    options: { ...COMMON_OPTIONS, account: { type: 'string' } },
    allowPositionals: true,
  });
  if (values.help) {
    console.log(HELP);
    return Exit.done;
  }
  const command = commandOf(positionals);
  const keys = readKeys(values.keys ?? process.env['KRAKEN_KEYS']);
  const key = values.account === undefined ? keys[0] : keys.find(({ account }) => account === values.account);
  if (!key)
    throw new UsageError(`no key for ${values.account}; there are ${keys.map(({ account }) => account).join(', ')}`);
  return runConnected('broker-adapter', values.socket, async (nonced, stop) => {
    const [account] = openAccounts(nonced, [key], values);
    if (!account) throw new UsageError('no account');
    return command(new KrakenBroker(account), stop);
  });
});

type Command = (broker: KrakenBroker, stop: AbortSignal) => Promise<number>;

/** Returns the command that the words mean, checked before anything is sent. */
function commandOf([name, ...words]: readonly string[]): Command {
  const take = (count: number): readonly string[] => {
    if (words.length === count) return words;
    throw new UsageError(`${name} takes ${count} words and was given ${words.length}; see --help`);
  };
  switch (name) {
    case 'connect':
    case 'balance':
      take(0);
      return (broker) => showing(() => (name === 'connect' ? broker.connect() : broker.balance()));
    case 'positions':
      take(0);
      return (broker) => showing(() => broker.positions());
    case 'market': {
      const [side = '', volume = '', pair = ''] = take(3);
      const order = { side: sideOf(side), volume: amountOf(volume), pair };
      return async (broker, signal) => tellPlaced(await broker.market(order.side, order.volume, pair, { signal }));
    }
    case 'limit': {
      const [side = '', volume = '', pair = '', price = ''] = take(4);
      const order = { side: sideOf(side), volume: amountOf(volume), price: amountOf(price) };
      return async (broker, signal) =>
        tellPlaced(await broker.limit(order.side, order.volume, pair, order.price, { signal }));
    }
    case 'cancel': {
      const [id = ''] = take(1);
      return async (broker) => {
        const result = await broker.cancel(id);
        if (result.state !== 'answered') return tellFailure(result);
        console.log(result.result === 'gone' ? `${id} is no longer open` : `cancelled ${id}`);
        return Exit.done;
      };
    }
    case 'order': {
      const [id = ''] = take(1);
      return async (broker) => {
        const result = await broker.orderStatus(id);
        if (result.state !== 'answered') return tellFailure(result);
        const order = result.result;
        console.log(
          order ? `${order.txid} ${order.status}, executed ${order.executed} of ${order.volume}` : 'no such order',
        );
        return order ? Exit.done : Exit.notDone;
      };
    }
    default:
      throw new UsageError(`${name ?? 'no command'}; give connect, balance, market, limit, cancel, positions or order`);
  }
}

async function showing(question: () => Promise<Readonly<Record<string, unknown>>>): Promise<number> {
  try {
    console.log(JSON.stringify(await question(), undefined, 2));
    return Exit.done;
  } catch (error) {
    if (error instanceof CallFailed) return tellFailure(error.result);
    throw error;
  }
}

function sideOf(text: string): Order['side'] {
  if (text === 'buy' || text === 'sell') return text;
  throw new UsageError(`${text} is not a side; give buy or sell`);
}

/** Returns the amount as it was written: a number would round it. */
function amountOf(text: string): string {
  if (/^\d+(\.\d+)?$/.test(text) && Number(text) > 0) return text;
  throw new UsageError(`${text} is not an amount; give one like 0.25`);
}
