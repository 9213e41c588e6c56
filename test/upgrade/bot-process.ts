// A bot in Node that makes calls until it is told to stop, with the client library of any version. bots.ts says what it
// is given and what it prints.
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { krakenCall } from '../fixtures/kraken-client.ts';
import type { BotOptions } from './bots.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as BotOptions;
const { client: path, name, socket, url, keys, hold, waitMs } = options;
const { connect } = (await import(path)) as typeof import('../../src/client/index.ts');

const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`);
const sayFailed = (account: string, error: unknown): void => {
  const { code, message } = error as Error & { code?: string };
  say({ failed: account, error: `${code ?? 'Error'}: ${message}` });
};

const client = await connect({ name, socket, connectTimeoutMs: waitMs });
const held = await client.acquire({ account: hold, ttlMs: 600_000, waitMs });
say({ held: String(held.nonce) });

let stopping = false;
const workers = keys.map(async (key) => {
  while (!stopping) {
    try {
      const nonce = await client.exclusive({ account: key.account, waitMs }, async (grant) => {
        const { error } = await krakenCall({ url, ...key }, 'Balance', {}, grant);
        if (error.length > 0) throw new Error(error.join(', '));
        return grant.nonce;
      });
      say({ called: key.account, nonce: String(nonce) });
    } catch (error) {
      sayFailed(key.account, error);
    }
    await pause(50);
  }
});

for await (const line of createInterface({ input: process.stdin })) {
  try {
    if (line === 'next') say({ held: String(await held.next()) });
    else if (line === 'release') say({ released: await held.release('ok') });
    else break;
  } catch (error) {
    sayFailed(hold, error);
  }
}
stopping = true;
await Promise.all(workers);
await client.close();
process.exit(0);
