/** Makes docs/pictures/top.svg: `nonced top` in a real terminal, before a daemon and bots that keep it busy. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Outcome } from '../../src/client/index.ts';
import { daemonPlace, NONCED, runNonced, startDaemonProcess } from '../fixtures/daemon-process.ts';
import { Terminal } from '../fixtures/tmux-terminal.ts';
import { svgOf } from './terminal-svg.ts';

const COLUMNS = 120;
const ROWS = 21;
const TIDE_MS = 110_000;

interface Bot {
  readonly name: string;
  readonly account: string;
  readonly label: string;
  readonly priority: 'urgent' | 'normal' | 'background';
  readonly holdMs: number;
  readonly pauseMs: number;
  readonly outcome?: Outcome;
}

const BOTS: readonly Bot[] = [
  { name: 'copy-trader', account: 'MASTER', label: 'place order', priority: 'urgent', holdMs: 300, pauseMs: 300 },
  { name: 'balance-poll', account: 'MASTER', label: 'balance', priority: 'background', holdMs: 250, pauseMs: 200 },
  { name: 'copy-trader', account: 'USER:alice', label: 'place order', priority: 'normal', holdMs: 220, pauseMs: 300 },
  { name: 'grid-bot', account: 'USER:alice', label: 'open orders', priority: 'normal', holdMs: 150, pauseMs: 100 },
  { name: 'copy-trader', account: 'USER:bob', label: 'place order', priority: 'normal', holdMs: 260, pauseMs: 500 },
  { name: 'rebalancer', account: 'USER:carol', label: 'trades', priority: 'background', holdMs: 700, pauseMs: 400 },
  {
    name: 'old-script',
    account: 'USER:dave',
    label: 'ledger',
    priority: 'normal',
    holdMs: 80,
    pauseMs: 4_000,
    outcome: 'invalid-nonce',
  },
];

const [file = 'docs/pictures/top.svg', seconds = '300'] = process.argv.slice(2);
const endMs = Date.now() + Number(seconds) * 1_000;
const place = daemonPlace();
const config = join(place.dir, 'config.json');
writeFileSync(config, JSON.stringify({ accounts: { MASTER: { pacing: { max: 20, perSecond: 4 } } } }));
const daemon = await startDaemonProcess(place, { args: ['--config', config] });
const terminal = new Terminal({ columns: COLUMNS + 1, rows: ROWS + 1 });
try {
  await runNonced(['set-exclusive', 'account', '--socket', place.socket]);
  terminal.type(`${process.execPath} ${NONCED} top --socket ${place.socket}`);
  const bots = BOTS.map(run);
  await sleep(endMs - Date.now() - 2_000);
  terminal.keys('Down', 'Down');
  await sleep(1_500);
  writeFileSync(file, svgOf(terminal.coloured().split('\n').slice(0, ROWS), COLUMNS, 'nonced top'));
  await Promise.all(bots);
} finally {
  terminal.end();
  await daemon.end('SIGTERM');
  place.remove();
}

/** Makes calls that last about so long, with pauses between them: much to do for a minute, and little for the next. */
async function run({ name, account, label, priority, holdMs, pauseMs, outcome = 'ok' }: Bot): Promise<void> {
  await using client = await connect({ name, socket: place.socket });
  const about = (ms: number) => sleep(ms * (0.5 + Math.random()));
  while (Date.now() < endMs) {
    try {
      await client.exclusive({ account, label, priority, outcome: () => outcome }, () => about(holdMs));
    } catch {
      // Quarantined, or not granted in time: that is to be seen.
    }
    await about(pauseMs * (1.6 + 1.4 * Math.sin((2 * Math.PI * (endMs - Date.now())) / TIDE_MS)));
  }
}
