import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connect } from '../../src/client/index.ts';
import type { ApiKey } from '../../src/rehearsal/exchange-keys.ts';
import { NONCED, runNonced } from '../fixtures/daemon-process.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type ExampleHost, startExampleHost } from '../fixtures/example-host.ts';
import { hasProgram, type RunResult, run } from '../fixtures/shell.ts';

const SHELL = resolve('examples/shell');
const BALANCE = join(SHELL, 'balance.sh');
const OWN_CLOCK = join(SHELL, 'own-clock.sh');
const WITH_NC = join(SHELL, 'with-nc.sh');
const AT_ONCE = 8;

const missing = ['bash', 'nc', 'curl', 'openssl', 'timeout'].filter((program) => !hasProgram(program));
const reason = missing.length === 0 ? '' : ` (skipped: no ${missing.join(', ')})`;

describe.skipIf(reason !== '')(`the shell examples${reason}`, () => {
  let host: ExampleHost;
  let apiKey: ApiKey;
  let env: Record<string, string>;

  beforeAll(async () => {
    host = await startExampleHost({ delayMs: [0, 20] });
  });

  afterAll(() => host.close());

  beforeEach(() => {
    const issued = host.exchange.addKey();
    apiKey = issued;
    const file = (name: string, text: string) => {
      const path = join(host.place.dir, name);
      writeFileSync(path, `${text}\n`, { mode: 0o600 });
      return path;
    };
    env = {
      ...host.env,
      KRAKEN_KEY_FILE: file('key', issued.key),
      KRAKEN_SECRET_FILE: file('secret', issued.secret),
    };
  });

  afterEach(() => host.exchange.clearFaults());

  const seen = () => host.exchange.report().keys[apiKey.key];

  const exec = (options: readonly string[], ...program: string[]) =>
    runNonced(['exec', '--account', apiKey.account, '--wait', '50s', ...options, '--', ...program], env);

  const codes = (runs: readonly RunResult[]) => runs.map(({ code, stderr }) => (stderr === '' ? code : stderr));

  test('balance.sh signs as Kraken wants it and prints the answer, run by sh and by bash', async () => {
    for (const shell of ['sh', 'bash']) {
      const { code, stdout, stderr } = await exec(['--unit', 'ns'], shell, BALANCE);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(JSON.parse(stdout)).toMatchObject({ error: [], result: { ZUSD: '100000.0000' } });
    }
    expect(seen()).toMatchObject({ accepted: 2 });
  });

  test('it takes the secret from the environment too, and any length of it that fits a block of the hash', async () => {
    for (const bytes of [1, 63, 64, 65, 128]) {
      const issued = host.exchange.addKey({ secret: Buffer.alloc(bytes, 0xa5).toString('base64') });
      const { code, stderr } = await run(BALANCE, [], {
        KRAKEN_URL: host.exchange.url,
        KRAKEN_KEY: issued.key,
        KRAKEN_SECRET: issued.secret,
        NONCED_NONCE: '1',
      });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    }
  });

  test('no argument of any program it starts holds the key, the secret or a part of them', async () => {
    // In front of the real programs, a spy for each that notes what `ps` would show.
    const bin = join(host.place.dir, 'spies');
    const log = join(host.place.dir, 'arguments');
    const programs = ['openssl', 'curl', 'od', 'cat', 'mktemp', 'rm', 'dirname'];
    await run('mkdir', ['-p', bin]);
    for (const program of programs) {
      const { stdout } = await run('sh', ['-c', `command -v ${program}`]);
      const spy = join(bin, program);
      writeFileSync(spy, `#!/bin/sh\nprintf '%s\\n' "${program} $*" >>'${log}'\nexec ${stdout.trim()} "$@"\n`);
      chmodSync(spy, 0o755);
    }
    const { code } = await exec([], 'env', `PATH=${bin}:${process.env['PATH']}`, BALANCE);
    expect(code).toBe(0);
    const noted = readFileSync(log, 'utf8');
    for (const program of ['openssl dgst -sha512', 'curl']) expect(noted).toContain(program);
    const bytes = Buffer.from(apiKey.secret, 'base64');
    for (const secret of [apiKey.key, apiKey.secret, bytes.toString('hex')]) {
      expect(noted.toLowerCase()).not.toContain(secret.slice(0, 16).toLowerCase());
    }
  });

  test('a call that was refused exits 1, one without an answer 2, and without settings nothing is sent', async () => {
    const refused = await run(BALANCE, [], { ...env, NONCED_NONCE: '0' });
    expect(refused).toMatchObject({ code: 1, stdout: '{"error":["EAPI:Invalid nonce"]}\n' });
    host.exchange.injectFault({ kind: 'reset', calls: 1 });
    expect(await exec([], BALANCE)).toMatchObject({ code: 2, stdout: '' });
    host.exchange.injectFault({ kind: 'status', status: 502, calls: 1 });
    expect(await exec([], BALANCE)).toMatchObject({ code: 2 });
    const { calls } = host.exchange.report();
    const bare = { KRAKEN_URL: host.exchange.url, KRAKEN_SECRET: '' };
    expect((await run(BALANCE, [], bare)).stderr).toContain('NONCED_NONCE');
    const unset = await run(BALANCE, [], { ...bare, NONCED_NONCE: '1', KRAKEN_KEY: 'k' });
    expect(unset).toMatchObject({
      code: 64,
      stderr: 'balance.sh: no KRAKEN_SECRET; set KRAKEN_SECRET_FILE to a file that holds it, or KRAKEN_SECRET\n',
    });
    const wrong = await run(BALANCE, [], { ...bare, NONCED_NONCE: '1', KRAKEN_KEY: 'k', KRAKEN_SECRET: '%' });
    expect(wrong).toMatchObject({ code: 64, stderr: expect.stringContaining('not base64') });
    const injected = await run(BALANCE, [], { ...env, NONCED_NONCE: '1"\noutput = "/tmp/x' });
    expect(injected).toMatchObject({ code: 64, stderr: expect.stringContaining('not URL-encoded') });
    expect(host.exchange.report().calls).toBe(calls);
  });

  test(`${AT_ONCE} that take our nonce and ${AT_ONCE} that make their own, at once on one key, are all accepted under exec`, async () => {
    const programs = Array.from({ length: AT_ONCE }, () => [
      exec([], BALANCE),
      exec(['--own-clock'], OWN_CLOCK),
    ]).flat();
    expect(codes(await Promise.all(programs))).toEqual(Array(2 * AT_ONCE).fill(0));
    expect(seen()).toMatchObject({ accepted: 2 * AT_ONCE, invalidNonce: 0, repeatedNonces: 0, maxInFlight: 1 });
  });

  test(`${AT_ONCE} that make their own, at once on one key without exec, overtake one another and some are rejected`, async () => {
    // Some of the first to arrive are looked at last, as happens on a network now and then.
    host.exchange.injectFault({ kind: 'delay', delayMs: 1_000, calls: AT_ONCE / 4, key: apiKey.key });
    const runs = await Promise.all(Array.from({ length: AT_ONCE }, () => run(OWN_CLOCK, [], env)));
    expect(runs.some(({ code }) => code === 1)).toBe(true);
    expect(seen()?.invalidNonce).toBeGreaterThan(0);
  });

  test('--max-hold ends one that hangs, its curl too, and the next is accepted', async () => {
    host.exchange.injectFault({ kind: 'hang', calls: 1, key: apiKey.key });
    const patient = { ...env, KRAKEN_TIMEOUT: '600' };
    const hung = await run(process.execPath, [NONCED, 'exec', '--max-hold', '1s', '--', BALANCE], patient);
    expect(hung).toMatchObject({ code: 75, stdout: '', stderr: expect.stringContaining('--max-hold') });
    // Without that the exchange would still have it in flight, for ten minutes.
    await eventually('curl is gone', () => seen()?.inFlight === 0);
    expect(await exec(['--own-clock'], OWN_CLOCK)).toMatchObject({ code: 0 });
  });

  const withNc = (account: string, ...program: string[]) =>
    run(WITH_NC, [account, ...program], { ...env, NONCED_WAIT: '50' });

  test(`with-nc.sh does it with bash and nc alone: ${AT_ONCE} at once beside as many under exec, all accepted`, async () => {
    const programs = Array.from({ length: AT_ONCE }, () => [withNc(apiKey.account, BALANCE), exec([], BALANCE)]).flat();
    expect(codes(await Promise.all(programs))).toEqual(Array(2 * AT_ONCE).fill(0));
    expect(seen()).toMatchObject({ accepted: 2 * AT_ONCE, invalidNonce: 0, repeatedNonces: 0, maxInFlight: 1 });
  });

  test('it passes on how the program ends, ends one that takes too long, and gives the lease back with what is known', async () => {
    // What it sends to the daemon goes through a spy in place of nc.
    const bin = join(host.place.dir, 'nc-spy');
    const log = join(host.place.dir, 'said');
    const { stdout: real } = await run('sh', ['-c', 'command -v nc']);
    await run('mkdir', ['-p', bin]);
    writeFileSync(join(bin, 'nc'), `#!/bin/sh\ntee -a '${log}' | ${real.trim()} "$@"\n`, { mode: 0o755 });
    const spied = { ...env, PATH: `${bin}:${process.env['PATH']}` };
    const ended = await run(WITH_NC, ['MASTER', 'sh', '-c', 'echo "$NONCED_ACCOUNT"; exit 3'], spied);
    expect(ended).toMatchObject({ code: 3, stdout: 'MASTER\n', stderr: '' });
    const slow = await run(WITH_NC, ['MASTER', 'sleep', '600'], { ...spied, NONCED_HOLD: '1' });
    expect(slow.code).toBe(124);
    expect(await run(WITH_NC, ['MASTER', 'true'], spied)).toMatchObject({ code: 0, stderr: '' });
    const said = readFileSync(log, 'utf8').match(/"method":"\w+"|"outcome":"\w+"/g);
    const turn = ['"method":"hello"', '"method":"acquire"', '"method":"release"'];
    const outcomes = ['unknown', 'unknown', 'ok'].map((outcome) => `"outcome":"${outcome}"`);
    expect(said).toEqual(outcomes.flatMap((outcome) => [...turn, outcome]));
  });

  test('when it is killed, its lease ends at once although its program lives on', async () => {
    await using nonced = await connect({ socket: host.place.socket });
    const script = spawn(WITH_NC, ['MASTER', 'sh', '-c', 'echo $$; exec sleep 600'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env, NONCED_HOLD: '500' },
    });
    const [said] = await once(script.stdout, 'data');
    const program = Number(String(said));
    try {
      expect((await nonced.status()).totals.leases).toBe(1);
      script.kill('SIGKILL');
      await eventually('the lane is free', async () => (await nonced.status()).totals.leases === 0);
      expect(process.kill(program, 0)).toBe(true);
    } finally {
      process.kill(program, 'SIGKILL');
    }
  });

  test('without a daemon it exits 69, with a lease that does not come 75, and its program is not started', async () => {
    const nobody = await run(WITH_NC, ['MASTER', 'echo', 'started'], { NONCED_SOCKET: join(host.place.dir, 'none') });
    expect(nobody).toMatchObject({ code: 69, stdout: '' });
    await using nonced = await connect({ socket: host.place.socket });
    const grant = await nonced.acquire();
    const waited = await run(WITH_NC, ['MASTER', 'echo', 'started'], { ...env, NONCED_WAIT: '0' });
    await grant.release();
    expect(waited).toMatchObject({ code: 75, stdout: '', stderr: expect.stringContaining('WAIT_TIMEOUT') });
  });
});
