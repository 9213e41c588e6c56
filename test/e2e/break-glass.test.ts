import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { daemonPlace } from '../fixtures/daemon-process.ts';
import { startExchange } from '../fixtures/exchange.ts';
import { krakenCall } from '../fixtures/kraken-client.ts';
import { hasProgram, shell } from '../fixtures/shell.ts';

const missing = ['curl', 'openssl', 'base64', 'od'].filter((name) => !hasProgram(name));
const skipped = missing.length > 0 ? ` (skipped: no ${missing.join(', ')})` : '';
const place = daemonPlace();

afterAll(() => place.remove());

test.skipIf(missing.length > 0)(`the break-glass script of the manual cancels all orders${skipped}`, async () => {
  const [, block = ''] =
    /```sh\n( *# break-glass\.sh [\s\S]*?)```/.exec(readFileSync('docs/operations.md', 'utf8')) ?? [];
  const script = join(place.dir, 'break-glass.sh');
  writeFileSync(script, block.replaceAll(/^ {3}/gm, ''));
  const exchange = await startExchange({ delayMs: [0, 0] });
  try {
    const { key, secret } = exchange.addKey({ account: 'cancel-only' });
    const order = { pair: 'XBTUSD', type: 'buy', ordertype: 'limit', price: '1', volume: '1' };
    const nonce = String(BigInt(Date.now()) * 1_000_000n);
    expect(await krakenCall({ url: exchange.url, key, secret }, 'AddOrder', order, { nonce })).toMatchObject({
      error: [],
    });
    const env = { KRAKEN_KEY: key, KRAKEN_SECRET: secret, KRAKEN_URL: exchange.url };
    const set = await shell(`sh ${script} CancelAllOrdersAfter timeout=60`, env);
    expect(JSON.parse(set.stdout)).toMatchObject({ error: [] });
    const cancelled = await shell(`sh ${script} CancelAll`, env);
    expect(JSON.parse(cancelled.stdout)).toMatchObject({ error: [], result: { count: 1 } });
    expect(exchange.report()).toMatchObject({ invalidSignature: 0, invalidNonce: 0 });
  } finally {
    await exchange.close();
    rmSync(script);
  }
});
