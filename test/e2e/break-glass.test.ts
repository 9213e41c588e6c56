import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { daemonPlace } from '../fixtures/daemon-process.ts';
import { startExchange } from '../fixtures/exchange.ts';
import { krakenCall } from '../fixtures/kraken-client.ts';
import { hasProgram, shell } from '../fixtures/shell.ts';

const missing = ['curl', 'openssl', 'od'].filter((name) => !hasProgram(name));
const skipped = missing.length > 0 ? ` (skipped: no ${missing.join(', ')})` : '';
const place = daemonPlace();

afterAll(() => place.remove());

test.skipIf(missing.length > 0)(`the break-glass script of docs/recovery.md cancels all orders${skipped}`, async () => {
  const [, block = ''] =
    /```sh\n( *#!\/bin\/sh\n *# break-glass\.sh [\s\S]*?)```/.exec(readFileSync('docs/recovery.md', 'utf8')) ?? [];
  const script = join(place.dir, 'break-glass.sh');
  writeFileSync(script, block.replaceAll(/^ {3}/gm, ''));
  // In front of the real programs, a spy for each that notes what `ps` would show.
  const spies = join(place.dir, 'spies');
  const noted = join(place.dir, 'arguments');
  mkdirSync(spies);
  for (const program of ['curl', 'openssl', 'od']) {
    const { stdout } = await shell(`command -v ${program}`);
    const spy = join(spies, program);
    writeFileSync(spy, `#!/bin/sh\nprintf '%s\\n' "${program} $*" >>'${noted}'\nexec ${stdout.trim()} "$@"\n`);
    chmodSync(spy, 0o755);
  }
  const exchange = await startExchange({ delayMs: [0, 0] });
  try {
    const { key, secret } = exchange.addKey({ account: 'cancel-only' });
    const order = { pair: 'XBTUSD', type: 'buy', ordertype: 'limit', price: '1', volume: '1' };
    const nonce = String(BigInt(Date.now()) * 1_000_000n);
    expect(await krakenCall({ url: exchange.url, key, secret }, 'AddOrder', order, { nonce })).toMatchObject({
      error: [],
    });
    const path = `${spies}:${process.env['PATH']}`;
    const env = { KRAKEN_KEY: key, KRAKEN_SECRET: secret, KRAKEN_URL: exchange.url, PATH: path };
    expect(await shell(`sh ${script}`, env)).toMatchObject({ code: 64, stderr: expect.stringMatching(/^usage: /) });
    const set = await shell(`sh ${script} CancelAllOrdersAfter timeout=60`, env);
    expect(JSON.parse(set.stdout)).toMatchObject({ error: [] });
    const cancelled = await shell(`sh ${script} CancelAll`, env);
    expect(JSON.parse(cancelled.stdout)).toMatchObject({ error: [], result: { count: 1 } });
    expect(exchange.report()).toMatchObject({ invalidSignature: 0, invalidNonce: 0 });
    const seen = readFileSync(noted, 'utf8').toLowerCase();
    expect(seen).toContain('curl');
    for (const hidden of [key, secret, Buffer.from(secret, 'base64').toString('hex')]) {
      expect(seen).not.toContain(hidden.slice(0, 16).toLowerCase());
    }
  } finally {
    await exchange.close();
    rmSync(script);
  }
});
