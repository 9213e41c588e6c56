import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { escapeHtml, escapeJson } from '../../../src/cli/timeline/html.ts';
import type { Call, Incident } from '../../../src/cli/timeline/incident.ts';
import { renderPage } from '../../../src/cli/timeline/page.ts';

const FROM_MS = Date.UTC(2026, 10, 28, 22, 30);
const ASSETS = { style: 'body { margin: 0 }', scripts: ['const a = 1;', 'const b = 2;'] };
const HOSTILE = '</script><img src=x onerror=alert(1)>"\'&\u2028';

function callAt(ms: number, more: Partial<Call> = {}): Call {
  return {
    account: 'MASTER',
    holder: 'grid-bot',
    pid: 7,
    label: null,
    priority: 'normal',
    nonce: '1795365006294000000',
    lastNonce: '1795365006294000000',
    waitedMs: 0,
    heldMs: 100,
    endMs: FROM_MS + ms,
    state: { kind: 'ended', ended: 'released', outcome: 'ok' },
    late: false,
    ...more,
  };
}

function incidentOf(more: Partial<Incident> = {}): Incident {
  const nothing = { lives: [], calls: [], happenings: [], refused: [], gaps: [], notes: [] };
  return { fromMs: FROM_MS, toMs: FROM_MS + 600_000, nowMs: FROM_MS, source: 'test', ...nothing, ...more };
}

const REJECTED = { state: { kind: 'ended', ended: 'released', outcome: 'invalid-nonce' } } as const;

test('the policy of the page lets its own style and scripts run, by their hashes, and nothing else', () => {
  const page = renderPage(incidentOf(), 'account', ASSETS);
  const [, policy] = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(page) ?? [];
  const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  expect(policy?.split('; ')).toEqual([
    "default-src 'none'",
    `style-src ${hash(ASSETS.style)}`,
    `script-src ${ASSETS.scripts.map(hash).join(' ')}`,
    "base-uri 'none'",
    "form-action 'none'",
  ]);
  // What the hashes are of is what stands in the elements, to the letter.
  expect(page).toContain(`<style>${ASSETS.style}</style>`);
  for (const script of ASSETS.scripts) expect(page).toContain(`<script>${script}</script>`);
});

test('it says what is shown: when, from where, how many, and what is missing', () => {
  const gaps = [{ fromMs: FROM_MS, toMs: FROM_MS + 1_000, text: 'The daemon remembers the last 1,000 calls.' }];
  const calls = [callAt(1_000, REJECTED), callAt(2_000), callAt(3_000, { waitedMs: 12_300 })];
  const page = renderPage(incidentOf({ calls, gaps, notes: ['A note.'] }), 'account', ASSETS);
  expect(page).toContain('<h1>2026-11-28 22:30:00 – 22:40:00 UTC</h1>');
  expect(page).toContain('<b>3</b> calls');
  expect(page).toContain('<b>1</b> nonce rejected');
  expect(page).toContain('<b>12.3 s</b> longest wait');
  expect(page).toContain('<li>The daemon remembers the last 1,000 calls.</li><li>A note.</li>');
});

test('what was refused is a table, and its waits count among the longest', () => {
  const refused = {
    account: 'MASTER',
    code: 'WAIT_TIMEOUT',
    count: 15,
    longestWaitMs: 30_000,
    fromMs: FROM_MS + 1_000,
    toMs: FROM_MS + 2_000,
    lastAccount: 'MASTER',
    holder: HOSTILE,
    pid: 7,
    label: null,
  };
  const calls = [callAt(3_000, { waitedMs: 4_600 })];
  const page = renderPage(incidentOf({ calls, refused: [refused] }), 'account', ASSETS);
  expect(page).toContain('<b>30.0 s</b> longest wait');
  expect(page).toContain('<b>15</b> refused');
  expect(page).toMatch(
    /<td>MASTER<\/td><td>WAIT_TIMEOUT<\/td><td>15<\/td><td>22:30:01.000<\/td><td>22:30:02.000<\/td><td>30.0 s/,
  );
  expect(page).not.toContain(HOSTILE);
  const [, events = ''] = /<section id="events">([\s\S]*?)<\/section>/.exec(page) ?? [];
  expect(events).toContain('None.');
});

test('the calls to look at are a table, the latest first, with their nonces', () => {
  const calls = [callAt(1_000, REJECTED), callAt(2_000), callAt(3_000, { heldMs: 20_000, lastNonce: '9', late: true })];
  const [, table = ''] =
    /<section id="calls">([\s\S]*?)<\/section>/.exec(renderPage(incidentOf({ calls }), 'account', ASSETS)) ?? [];
  const rows = [...table.matchAll(/<tr data-at="(\d+)" data-call="(\d+)" data-kind="([^"]+)">(.*?)<\/tr>/g)];
  expect(rows.map(([, at, call, kind]) => [Number(at) - FROM_MS, call, kind])).toEqual([
    [3_000, '0', 'ok'],
    [1_000, '1', 'invalid-nonce'],
  ]);
  expect(rows[0]?.[4]).toContain(
    '<td>1795365006294000000 to 9</td><td>0 ms</td><td>20.0 s</td><td>released</td><td>ok (reported late)</td>',
  );
  expect(rows[1]?.[4]).toContain('<td>✕ invalid-nonce</td>');
});

test('of too many calls to look at the rejected ones are all listed, and that it is a part is said', () => {
  const slow = Array.from({ length: 700 }, (_, n) => callAt(100_000 + n, { heldMs: 6_000 }));
  const page = renderPage(incidentOf({ calls: [callAt(1_000, REJECTED), ...slow] }), 'account', ASSETS);
  expect(page).toContain('500 of 701 are listed.');
  expect(page.match(/data-kind="invalid-nonce">/g)).not.toBeNull();
  expect(page.match(/<tr data-at="\d+" data-call/g)).toHaveLength(500);
});

test('if nothing is known there is a sentence and not an empty picture', () => {
  const page = renderPage(incidentOf(), 'account', ASSETS);
  expect(page).toContain('No call or event is known in this time.');
  expect(page).not.toContain('<canvas');
});

test('any name that a bot gives itself is text, in the tables as in the JSON', () => {
  const calls = [callAt(1_000, { account: HOSTILE, holder: HOSTILE, label: HOSTILE, ...REJECTED })];
  const happenings = [{ atMs: FROM_MS, kind: HOSTILE, severity: 'warn' as const, subject: HOSTILE, text: HOSTILE }];
  const lives = [{ epoch: 1, version: HOSTILE, pid: 1, startedAtMs: FROM_MS, endedAtMs: undefined, isCleanEnd: false }];
  const gaps = [{ fromMs: FROM_MS, toMs: FROM_MS + 9, text: HOSTILE }];
  for (const by of ['account', 'process'] as const) {
    const page = renderPage(
      incidentOf({ calls, happenings, lives, gaps, notes: [HOSTILE], source: HOSTILE }),
      by,
      ASSETS,
    );
    expect(page).not.toContain('<img');
    // Those of the page alone: its two scripts and the data.
    expect(page.match(/<\/script/g)).toHaveLength(3);
    const [, json = ''] = /id="data">([\s\S]*?)<\/script>/.exec(page) ?? [];
    expect(JSON.parse(json).texts).toContain(HOSTILE);
    expect(json).not.toMatch(/[<>&\u2028\u2029]/);
  }
});

test('escaping changes only what would be read as HTML', () => {
  expect(escapeHtml(`<a href="x" title='y'>&amp;`)).toBe('&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;amp;');
  const value = { text: '<!--\u2028]]>&</script>', number: 1, nothing: null };
  expect(JSON.parse(escapeJson(value))).toEqual(value);
  expect(escapeJson(value)).toMatch(/^[^<>&\u2028\u2029]+$/);
});
