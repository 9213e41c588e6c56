/** What the pages show runs as it stands. The pages of the adapters have tests beside those of the adapters. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blocksOf } from '../docs/pages.ts';
import { type DaemonProcess, daemonPlace, startDaemonProcess } from '../fixtures/daemon-process.ts';
import { type Exchange, startExchange } from '../fixtures/exchange.ts';
import { hasProgram, type RunResult, run } from '../fixtures/shell.ts';

const place = daemonPlace();
let daemon: DaemonProcess;

beforeAll(async () => {
  daemon = await startDaemonProcess(place);
});

afterAll(async () => {
  await daemon.end('SIGTERM');
  place.remove();
});

/** The one block of the page that has this in it. */
function block(page: string, language: string, having: string): string {
  const found = blocksOf(page).filter((each) => each.language === language && each.code.includes(having));
  expect(found, `${page}: ${having}`).toHaveLength(1);
  return found[0]?.code ?? '';
}

/** Runs it where `nonced-client` and the SDKs are found, as a bot's project has them. */
function runModule(name: string, code: string, env: Readonly<Record<string, string>> = {}): Promise<RunResult> {
  const file = resolve(`build/page-${name}.mjs`);
  writeFileSync(file, code);
  return run(process.execPath, [file], { NONCED_SOCKET: place.socket, ...env });
}

/** What stands for the code of a reader, below the block: a function is known from the beginning of its module. */
const PRIVATE_CALL = `
function privateCall(method, { nonce, signal }) {
  console.log(method, String(nonce), signal.aborted);
}`;

test.each(['README.md', 'docs/client.md'])('%s: the first call of a bot in Node', async (page) => {
  const code = block(page, 'js', 'privateCall');
  expect(await runModule('first-call', code + PRIVATE_CALL)).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^Balance \d{19} false\n$/),
    stderr: '',
  });
});

test('README.md: ccxt with its adapter', async () => {
  const code = block('README.md', 'js', 'withNonced');
  const used = `${code}
console.log(typeof new Kraken({ apiKey: 'key', secret: 'c2VjcmV0' }).fetchBalance);
await nonced.close();`;
  expect(await runModule('ccxt', used)).toEqual({ code: 0, stdout: 'function\n', stderr: '' });
});

test('docs/client.md: what a program does with an error', async () => {
  const [head, ...rest] = block('docs/client.md', 'js', 'instanceof NoncedError').split('\n');
  const code = [
    head,
    `const nonced = await connect({ name: 'try' });
     const held = await nonced.acquire({ account: 'MASTER' });
     const send = () => console.log('sent');`,
    ...rest.map((line) => line.replace('2_000', '1')),
    'await held.release();\nawait nonced.close();',
  ].join('\n');
  const { stdout, stderr } = await runModule('error', code);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^not sent: WAIT_TIMEOUT .*\n$/);
});

test('docs/client.md: the outcome of a call of another exchange', async () => {
  const code = `const { outcome } = {\n${block('docs/client.md', 'js', 'end.error.message')}};
const failed = (text) => ({ ok: false, error: new Error(text) });
console.log(outcome({ ok: true }), outcome(failed('reset')), outcome(failed('Nonce is too small')));`;
  expect(await runModule('outcome', code)).toMatchObject({ stdout: 'ok unknown invalid-nonce\n', stderr: '' });
});

const withoutPython = hasProgram('python3') ? '' : ' (skipped: no python3)';

describe.skipIf(withoutPython !== '')(`in Python${withoutPython}`, () => {
  test('README.md: the first call of a bot', async () => {
    const file = join(place.dir, 'bot.py');
    writeFileSync(
      file,
      `def private_call(method, nonce, timeout): print(method, nonce, timeout > 1)\n${block('README.md', 'python', 'private_call')}`,
    );
    const env = { NONCED_SOCKET: place.socket, PYTHONPATH: resolve('clients/python') };
    expect(await run('python3', ['-B', file], env)).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^Balance \d{19} True\n$/),
      stderr: '',
    });
  });

  test('docs/protocol.md: a client of one minute', async () => {
    const file = join(place.dir, 'balance.py');
    writeFileSync(file, block('docs/protocol.md', 'python', 'balance.py'));
    expect(await run('python3', ['-B', file, place.socket])).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^make the call with nonce \d{19} within 20000 ms\n\{'released': True\}\n$/),
      stderr: '',
    });
  });
});

describe('docs/examples.md: trying an adapter', () => {
  const page = 'docs/examples.md';
  let exchange: Exchange;

  beforeAll(async () => {
    exchange = await startExchange({ delayMs: [0, 0] });
    const { url, port } = exchange;
    const keys = [exchange.addKey({ account: 'MASTER' })];
    writeFileSync(join(place.dir, 'keys.json'), JSON.stringify({ url, port, keys }));
  });

  afterAll(() => exchange.close());

  test.each(['ccxt', 'kraken-api', 'node-kraken-api'])('%s', async (sdk) => {
    const code = block(page, 'js', `from '${sdk}';`).replace('../nonced/build/', './');
    const env = { KRAKEN_KEYS: join(place.dir, 'keys.json') };
    const { stdout, stderr } = await runModule(`try-${sdk}`, block(page, 'js', 'readFileSync') + code, env);
    expect(stderr.replace(/.*(DeprecationWarning|node --trace-deprecation).*\n/g, '')).toBe('');
    expect(stdout).toMatch(/ZUSD|USD/);
    expect(exchange.report()).toMatchObject({ invalidNonce: 0 });
  });
});
