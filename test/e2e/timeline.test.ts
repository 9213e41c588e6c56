import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, type Nonced } from '../../src/client/index.ts';
import { type CallLogLine, encodeLine } from '../../src/protocol/call-log-lines.ts';
import {
  hasBrowser,
  openFile,
  type Place,
  painted,
  pixelsOf,
  placeOf,
  startBrowser,
  tipAt,
} from '../fixtures/browser.ts';
import { runInProcess } from '../fixtures/command-line.ts';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  NONCED,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { eventually } from '../fixtures/eventually.ts';
import { hasProgram, run } from '../fixtures/shell.ts';

const without = hasBrowser ? '' : ' (skipped: /usr/bin/chromium is not installed)';

let place: DaemonPlace;
let daemon: DaemonProcess;
let callLog: string;
const bots: Nonced[] = [];
/** Nonces of calls that went wrong, and of one that goes on. */
let hung: bigint;
const rejections: bigint[] = [];
let rejected: bigint;
let underWay: bigint;
let memoryPage: string;
let callLogPage: string;

async function bot(name: string): Promise<Nonced> {
  const opened = await connect({ name, socket: place.socket });
  bots.push(opened);
  return opened;
}

async function call(from: Nonced, account: string, outcome: 'ok' | 'invalid-nonce' = 'ok'): Promise<bigint> {
  const grant = await from.acquire({ account, label: 'Balance' });
  await grant.release(outcome);
  return grant.nonce;
}

const nonced = (...args: string[]) => runInProcess([...args, '--socket', place.socket]);

async function pageFrom(name: string, ...args: string[]): Promise<string> {
  const path = join(place.dir, name);
  const { code, stdout } = await nonced('timeline', ...args, '--output', path);
  expect([code, stdout]).toEqual([0, '']);
  return path;
}

beforeAll(async () => {
  place = daemonPlace();
  callLog = join(place.dir, 'calls.jsonl');
  const env = { NONCED_CALL_LOG: callLog };
  daemon = await startDaemonProcess(place, { env });
  expect((await nonced('set-exclusive', 'account')).code).toBe(0);
  const [trader, grid] = [await bot('copy-trader'), await bot('grid-bot')];
  for (let n = 0; n < 5; n += 1) await call(trader, n % 2 === 0 ? 'MASTER' : 'USER:alice');

  // One hangs, and the others wait for it.
  hung = (await grid.acquire({ account: 'MASTER', ttlMs: 1_000, label: 'AddOrder' })).nonce;
  await Promise.all([call(trader, 'MASTER'), call(trader, 'MASTER'), call(grid, 'USER:alice')]);
  // An exchange rejects a key, which is quarantined.
  for (let n = 0; n < 3; n += 1) rejections.push(await call(grid, 'USER:bob', 'invalid-nonce'));
  rejected = rejections.at(-1) ?? 0n;
  await eventually('it is in the call log', async () => readFileSync(callLog, 'utf8').includes(String(rejected)));
  await daemon.end('SIGKILL');
  daemon = await startDaemonProcess(place, { env });

  await call(trader, 'MASTER');
  expect((await nonced('pause', 'USER:carol')).code).toBe(0);
  underWay = (await grid.acquire({ account: 'MASTER', label: 'AddOrder' })).nonce;
  const waiting = trader.acquire({ account: 'MASTER', label: 'Balance' });
  waiting.catch(() => {});
  await eventually('it waits', async () => (await trader.status()).totals.waiting === 1);
  memoryPage = await pageFrom('memory.html', '--since', '10m');
  callLogPage = await pageFrom('call-log.html', '--since', '10m', '--call-log', callLog);
});

afterAll(async () => {
  await Promise.all(bots.map((each) => each.close()));
  await daemon.end('SIGKILL');
  place.remove();
});

describe('the data', () => {
  test('from the call log: both lives of the daemon, every call, what is under way, and what happened', async () => {
    const { code, stdout, stderr } = await nonced('timeline', '--since', '10m', '--call-log', callLog, '--json');
    expect(code).toBe(0);
    expect(stderr).toContain('The call log begins at');
    const { lives, calls, happenings } = JSON.parse(stdout);
    expect(lives).toMatchObject([{ epoch: 1, isCleanEnd: false }, { epoch: 2 }]);
    expect(lives[1].endedAtMs).toBeUndefined();
    const byNonce = (nonce: bigint) => calls.filter((each: { nonce: string }) => each.nonce === String(nonce));
    expect(byNonce(hung)).toMatchObject([{ holder: 'grid-bot', state: { kind: 'ended', ended: 'expired' } }]);
    expect(byNonce(rejected)).toMatchObject([{ account: 'USER:bob', state: { outcome: 'invalid-nonce' } }]);
    expect(byNonce(underWay)).toMatchObject([{ state: { kind: 'held' }, label: 'AddOrder' }]);
    expect(calls.filter(({ state }: { state: { kind: string } }) => state.kind === 'waiting')).toHaveLength(1);
    const kinds = happenings.map(({ kind }: { kind: string }) => kind);
    expect(kinds).toEqual(expect.arrayContaining(['exclusion-changed', 'breaker-changed', 'paused']));
  });

  test('from memory: only what was since the restart, and that is said', async () => {
    const { stdout, stderr } = await nonced('timeline', '--since', '10m', '--json');
    expect(stderr).toMatch(/The daemon started at .* and remembers nothing from before. A call log would/);
    const { calls, gaps } = JSON.parse(stdout);
    expect(JSON.stringify(calls)).not.toContain(String(hung));
    expect(JSON.stringify(calls)).toContain(String(underWay));
    expect(gaps).toHaveLength(1);
  });

  test('--account leaves out the calls and the events of others; --until ends it', async () => {
    const bob = await nonced('timeline', '--call-log', callLog, '--json', '--account', 'USER:bob');
    const { calls, happenings } = JSON.parse(bob.stdout);
    expect(new Set(calls.map(({ account }: { account: string }) => account))).toEqual(new Set(['USER:bob']));
    expect(happenings.map(({ kind }: { kind: string }) => kind)).not.toContain('paused');
    const until = await nonced('timeline', '--call-log', callLog, '--json', '--until', '5m');
    expect(JSON.parse(until.stdout)).toMatchObject({ calls: [], happenings: [] });
  });

  test('without a daemon a call log is enough, and what is not known is said', async () => {
    const args = ['timeline', '--call-log', callLog, '--socket', join(place.dir, 'none.sock')];
    const { code, stdout, stderr } = await runInProcess(args);
    expect(code).toBe(0);
    expect(stderr).toContain('no daemon answers, so calls under way are not known');
    expect(stdout).toMatch(/^<!doctype html>\n/);
    expect(stdout).toContain(String(hung));
    expect(stdout).not.toContain(String(underWay));
  });

  test('what cannot be read or written, and times that make no sense, are told with the exit code', async () => {
    const refusals: readonly (readonly [number, RegExp, readonly string[]])[] = [
      [64, /there is no call log at/, ['--call-log', join(place.dir, 'none.jsonl')]],
      [64, /is not a regular file/, ['--call-log', place.dir]],
      [64, /is not a call log/, ['--call-log', memoryPage]],
      [64, /would begin at .* and end at/, ['--since', '5m', '--until', '10m']],
      [64, /give how long ago/, ['--since', 'yesterday']],
      [64, /give how long ago/, ['--until', '2026-13-45']],
      [64, /account, process/, ['--by', 'colour']],
      [74, /cannot be written/, ['--output', join(place.dir, 'none', 'page.html')]],
      [69, /no daemon answers/, ['--socket', join(place.dir, 'none.sock')]],
    ];
    const asked = refusals.map(([, , args]) => runInProcess(['timeline', ...args], { NONCED_SOCKET: place.socket }));
    for (const [index, { code, stdout, stderr }] of (await Promise.all(asked)).entries()) {
      const [expected, said, args] = refusals[index] ?? [];
      expect({ args, code, stdout }).toEqual({ args, code: expected, stdout: '' });
      expect(stderr).toMatch(said ?? '');
    }
  });
});

const withoutScript = hasProgram('script') ? '' : ' (skipped: script of bsdutils is not installed)';

test.skipIf(!hasProgram('script'))(`a terminal is shown no HTML, but how to get it${withoutScript}`, async () => {
  const onTerminal = (options: string) =>
    run('script', ['-qec', `${process.execPath} ${NONCED} timeline ${options}`, '/dev/null'], {
      NONCED_SOCKET: place.socket,
    });
  const refused = await onTerminal('');
  expect([refused.code, refused.stdout]).toEqual([64, expect.stringContaining('nonced timeline -o incident.html')]);
  expect(refused.stdout).not.toContain('<');
  expect((await onTerminal('--json')).stdout).toContain(String(underWay));
});

describe.skipIf(!hasBrowser)(`the page, in a browser without a network${without}`, () => {
  let browser: Browser;

  beforeAll(async () => {
    browser = await startBrowser();
  });

  afterAll(() => browser.close());

  /** The heights at which the rows are. */
  async function rowsOf(page: Page): Promise<number[]> {
    const height = await page.evaluate("document.getElementById('canvas').clientHeight");
    return Array.from({ length: (Number(height) - 120) / 6 }, (_, n) => 120 + 6 * n);
  }

  /** The line of a table to which a call belongs brings it into the picture. */
  async function find(page: Page, nonce: bigint): Promise<Place> {
    await page.locator(`#calls tr:has-text("${nonce}") button`).click();
    await painted(page);
    expect(await page.locator('#tip').innerText()).toContain(String(nonce));
    await page.keyboard.press('Escape');
    return placeOf(page, String(nonce), await rowsOf(page));
  }

  test('hover tells of a bar; drag, wheel, buttons and keys change the time that is shown', async () => {
    const { page, trouble } = await openFile(browser, callLogPage);
    const shown = page.locator('#shown');
    const tip = page.locator('#tip');
    expect(await shown.textContent()).toBe('everything');
    expect(await page.locator('#legend').innerText()).toMatch(/invalid-nonce\s+3[\s\S]*still waiting\s+1/);

    const at = await find(page, hung);
    expect(await shown.textContent()).toMatch(/^\d\d:\d\d:\d\d\.\d{3} – /);
    await page.mouse.move(at.x, at.y + 1);
    await page.mouse.move(10, 10);
    expect(await tip.isVisible()).toBe(false);
    await page.mouse.move(at.x, at.y);
    expect(await tip.innerText()).toMatch(/MASTER[\s\S]*grid-bot[\s\S]*AddOrder[\s\S]*1\.0 s[\s\S]*expired/);
    expect(await tip.innerText()).toContain(String(hung));
    // A click keeps it there.
    await page.mouse.click(at.x, at.y);
    await page.mouse.move(10, 10);
    expect(await tip.innerText()).toContain(String(hung));
    await page.keyboard.press('Escape');
    expect(await tip.isVisible()).toBe(false);

    const seen: (string | null)[] = [await shown.textContent()];
    const changes = async (act: () => Promise<void>) => {
      await act();
      await painted(page);
      seen.push(await shown.textContent());
      expect(seen.at(-1)).not.toBe(seen.at(-2));
    };
    await changes(() => page.click('button[data-do=in]'));
    await page.focus('#plot');
    await changes(() => page.keyboard.press('+'));
    await changes(() => page.keyboard.press('ArrowLeft'));
    await changes(async () => {
      await page.mouse.move(at.x, at.y);
      await page.keyboard.down('Control');
      await page.mouse.wheel(0, -200);
      await page.keyboard.up('Control');
    });
    await changes(async () => {
      await page.mouse.move(500, at.y);
      await page.mouse.down();
      await page.mouse.move(600, at.y);
      await page.mouse.up();
    });
    await changes(() => page.mouse.dblclick(700, at.y));
    expect(seen.at(-1)).toBe('everything');
    await page.keyboard.press('n');
    expect(await tip.innerText()).toMatch(/expired|invalid-nonce/);
    expect(trouble).toEqual([]);
  });

  test('bars, marks and spans are drawn: what was rejected, under way, paused, and the restart', async () => {
    const { page, trouble } = await openFile(browser, callLogPage);
    const rows = await rowsOf(page);
    const events = [34, 51, 68, 85];
    const isTold = async (text: string, heights: readonly number[], told: RegExp) => {
      const { x, y } = await placeOf(page, text, heights);
      await page.mouse.move(x, y);
      expect(await page.locator('#tip').innerText()).toMatch(told);
    };
    await isTold('The call log begins at', [120], /not known/);
    // All three lie in one place at this scale, where it tells of the shortest.
    const at = await placeOf(page, '✕ USER:bob', rows);
    expect(await tipAt(page, at)).toMatch(new RegExp(`✕ USER:bob.*(${rejections.join('|')}).*invalid-nonce`));
    // A kind of call that is switched off is not there any more.
    await page.click('button[data-kind=invalid-nonce]');
    expect(await page.getAttribute('button[data-kind=invalid-nonce]', 'aria-pressed')).toBe('false');
    expect(await tipAt(page, at)).not.toContain('invalid-nonce');
    await page.click('button[data-kind=invalid-nonce]');
    expect(await tipAt(page, at)).toContain('invalid-nonce');
    // From ten minutes to the seconds in which it all happened.
    await find(page, hung);
    await isTold('start 2', events, /epoch 2, pid \d+\); the one before was killed or failed/);
    await isTold('paused USER:carol', events, /an operator has paused account USER:carol/);
    await isTold('USER:bob quarantined', events, /is quarantined, and only probes/);
    await isTold('last heard of at', [125], /^down/);
    await isTold(String(underWay), rows, /▸ MASTER[\s\S]*under way/);
    expect(await pixelsOf(page, 'kind-ok')).toBeGreaterThan(0);
    expect(await pixelsOf(page, 'kind-held')).toBeGreaterThan(0);
    expect(await pixelsOf(page, 'kind-invalid-nonce')).toBeGreaterThan(0);
    expect(trouble).toEqual([]);
  });

  test('light and dark follow the reader’s choice, in the picture too, and when it changes', async () => {
    const { page, trouble } = await openFile(browser, memoryPage, 'dark');
    const colours = async () => [
      await page.evaluate('getComputedStyle(document.body).backgroundColor'),
      (await pixelsOf(page, 'card')) > 1_000,
    ];
    expect(await colours()).toEqual(['rgb(15, 20, 27)', true]);
    await page.emulateMedia({ colorScheme: 'light' });
    await painted(page);
    expect(await colours()).toEqual(['rgb(244, 246, 249)', true]);
    expect(trouble).toEqual([]);
  });

  test('whatever bots call themselves is text: none of their scripts runs, nothing is loaded', async () => {
    const corpus = [
      '<script>window.pwned=1</script>',
      '</script><script>window.pwned=1</script>',
      '<!--<script>',
      ']]><script>window.pwned=1</script>',
      '<img src=x onerror=window.pwned=1>',
      '<svg/onload=window.pwned=1>',
      '"><img src=http://127.0.0.1:9/x onerror=window.pwned=1>',
      "' onmouseover='window.pwned=1",
      '" onfocus="window.pwned=1" autofocus="',
      'javascript:window.pwned=1',
      '&lt;script&gt;window.pwned=1&lt;/script&gt;',
      '\\u003cscript\\u003ewindow.pwned=1\\u003c/script\\u003e',
      `$${'{window.pwned=1}'}`,
      '{{constructor.constructor("window.pwned=1")()}}',
      '</style><style>*{display:none}</style>',
      '</title><base href=http://127.0.0.1:9/>',
      '<meta http-equiv=refresh content=0;url=http://127.0.0.1:9/>',
      'line\u2028separator\u2029and\nbreak',
      'right\u202eto left\u0000nul \ud800 half',
      '__proto__',
      'constructor',
    ];
    const at = new Date().toISOString();
    const line = { at, epoch: 1 };
    const author = { format: 1, version: corpus[1] ?? '', instance: 'i', pid: 1, boot: 'b', startedAt: at };
    const lines: CallLogLine[] = [{ type: 'daemon', ...line, ...author }];
    for (const text of corpus) {
      lines.push(
        {
          type: 'call',
          ...line,
          account: text,
          lane: text,
          exclusive: true,
          holder: text,
          pid: 1,
          label: text,
          priority: 'normal',
          nonce: '1',
          lastNonce: '2',
          waitedMs: 10,
          heldMs: 10,
          ended: 'expired',
          outcome: 'invalid-nonce',
          late: true,
        },
        { type: 'event', ...line, kind: 'paused', severity: 'warn', subject: text, text },
        { type: 'event', ...line, kind: text, severity: 'error', subject: text, text },
      );
    }
    const hostile = join(place.dir, 'hostile.jsonl');
    // As any program would write JSON: the daemon's own is no different.
    writeFileSync(hostile, lines.map((each) => `${encodeLine(each)}\n`).join(''));
    const path = await pageFrom('hostile.html', '--since', '1h', '--call-log', hostile);
    const { page, trouble } = await openFile(browser, path);
    await page.click('button[data-do=next]');
    await page.click('button[data-do=previous]');
    await painted(page);
    expect(await page.locator('#tip').innerText()).toContain('expired');
    expect(await page.evaluate('window.pwned')).toBeUndefined();
    expect(trouble).toEqual([]);
    const elements = await page.evaluate(
      "[...document.querySelectorAll('script, style, img, svg, base, iframe, link, [onerror], [onload]')].map(({ localName }) => localName).sort()",
    );
    expect(new Set(elements as string[])).toEqual(new Set(['script', 'style']));
    const told = await page.locator('#calls').innerText();
    for (const text of corpus.slice(0, 17)) expect(told).toContain(text);
    for (const unprintable of ['\u202e', '\u2028', '\0']) expect(told).not.toContain(unprintable);
  });

  test('scripts that are added to the page are refused by its own policy', async () => {
    const path = join(place.dir, 'added.html');
    const page = readFileSync(memoryPage, 'utf8');
    writeFileSync(
      path,
      page.replace('</main>', '<script>window.pwned=1</script><img src="http://127.0.0.1:9/x"></main>'),
    );
    const opened = await openFile(browser, path);
    expect(await opened.page.evaluate('window.pwned')).toBeUndefined();
    const refused = opened.trouble.filter((each) => each.includes('Content Security Policy'));
    expect(refused.join()).toMatch(/inline script[\s\S]*loading[\s\S]*127\.0\.0\.1/i);
  });

  test('10,000 calls of 100 accounts are drawn, and what is rejected among them is found', async () => {
    const many = join(place.dir, 'many.jsonl');
    const nowMs = Date.now();
    const count = 10_000;
    const call = { type: 'call', epoch: 1, lane: 'default', exclusive: true, label: null, priority: 'normal' } as const;
    const lines = Array.from({ length: count }, (_, n) =>
      encodeLine({
        ...call,
        at: new Date(nowMs - 3 * (count - n)).toISOString(),
        account: `USER:${n % 100}`,
        holder: `bot-${n % 7}`,
        pid: n % 7,
        nonce: String(n),
        lastNonce: String(n),
        waitedMs: n % 50,
        heldMs: 200,
        ended: 'released',
        outcome: n === 6_745 ? 'invalid-nonce' : 'ok',
        late: false,
      }),
    );
    writeFileSync(many, `${lines.join('\n')}\n`);
    const path = await pageFrom('many.html', '--since', '1h', '--call-log', many);
    expect(statSync(path).size).toBeLessThan(2_000_000);
    const { page, trouble } = await openFile(browser, path);
    expect(await page.locator('#rows tbody tr').count()).toBe(100);
    await page.focus('#plot');
    await page.keyboard.press('n');
    expect(await page.locator('#tip').innerText()).toMatch(/USER:45[\s\S]*6745[\s\S]*invalid-nonce/);
    expect(trouble).toEqual([]);
  });
});
