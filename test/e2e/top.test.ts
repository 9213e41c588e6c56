import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { connect } from '../../src/client/index.ts';
import { runInProcess } from '../fixtures/command-line.ts';
import { NONCED } from '../fixtures/daemon-process.ts';
import { daemonPerFile } from '../fixtures/daemon-test.ts';
import { eventually } from '../fixtures/eventually.ts';
import { shell } from '../fixtures/shell.ts';
import { Terminal, type TerminalOptions, withoutTmux } from '../fixtures/tmux-terminal.ts';

const top = (socket: string) => `${process.execPath} ${NONCED} top --interval 200ms --socket ${socket}`;

const test = daemonPerFile()
  .extend('bot', { scope: 'file', auto: true }, async ({ place }, { onCleanup }) => {
    const bot = await connect({ name: 'grid-bot', socket: place.socket });
    onCleanup(() => bot.close());
    for (let n = 0; n < 3; n += 1) await bot.exclusive({ account: 'MASTER', label: 'balance' }, async () => {});
    await bot.exclusive({ account: 'USER:alice', label: '残高照会', outcome: () => 'unsettled' }, async () => {});
    return bot;
  })
  // A terminal with a shell in it.
  .extend(
    'open',
    (
      // biome-ignore lint/correctness/noEmptyPattern: the runner reads from the pattern what a fixture needs
      {},
      { onCleanup },
    ) => {
      const terminals: Terminal[] = [];
      onCleanup(() => {
        for (const terminal of terminals) terminal.end();
      });
      return async (options?: TerminalOptions) => {
        const terminal = new Terminal(options);
        terminals.push(terminal);
        await terminal.until(/^[#$]/m);
        return terminal;
      };
    },
  )
  // A terminal in which top runs, and after it the line that says how it ended.
  .extend('opened', ({ place, open }) => async (options?: TerminalOptions, command = top(place.socket)) => {
    const terminal = await open(options);
    terminal.type('echo before');
    await terminal.until(/^before$/m);
    terminal.type(`${command}; echo ended with $?`);
    await terminal.until(/q quit/);
    return terminal;
  })
  // A place without a daemon, until one is started.
  .extend('elsewhere', ({ place, start }) => {
    const dir = mkdtempSync(join(place.dir, 'elsewhere-'));
    return {
      socket: join(dir, 'nonced.sock'),
      start: () => start({ args: ['--state-dir', join(dir, 'state'), '--runtime-dir', dir] }),
    };
  })
  .extend('signal', ({ place }) => async (name: string) => {
    const { stdout } = await shell(`pgrep -f -- '^${process.execPath} ${NONCED} top .*${place.socket}'`);
    const pids = stdout.trim().split('\n').map(Number);
    expect(pids).toHaveLength(1);
    process.kill(pids[0] ?? 0, `SIG${name}`);
  });

/** The shell has its terminal back as it was: the text of before, the cursor, and the echo of what is typed. */
async function restoredWith(code: number, terminal: Terminal): Promise<void> {
  await terminal.until(new RegExp(`^before\\n[\\s\\S]*^ended with ${code}$`, 'm'));
  expect(terminal.state()).toEqual({ cursor: true, other: false });
  terminal.type('echo "$((20 + 3))"');
  await terminal.until(/^. echo "\$\(\(20 \+ 3\)\)"\n23$/m);
}

describe.skipIf(withoutTmux !== '')(`top on a terminal${withoutTmux}`, () => {
  test('at 80x24 there is one line for each lane and account, none is wrapped, and the last one shows the keys', async ({
    bot,
    opened,
  }) => {
    const grant = await bot.acquire({ account: 'MASTER', label: 'place order' });
    const terminal = await opened();
    // Its first picture has no rates yet, because it has asked once.
    const text = await terminal.until((screen) => screen.includes('place order') && /^ {2}MASTER +\d/m.test(screen));
    await grant.release();
    const lines = text.split('\n');
    expect(lines).toHaveLength(24);
    expect(lines[0]).toMatch(/^nonced \d/);
    expect(text).toMatch(/^default +MASTER +grid-bot +place order +\d/m);
    expect(text).toMatch(/^ {2}MASTER +\d/m);
    expect(text).toMatch(/^ {2}USER:alice +\d/m);
    expect(lines[22]).toMatch(/^q quit/);
    expect(lines[23]).toBe('');
    expect(terminal.coloured()).toContain('\u001b[');
    expect(terminal.state()).toEqual({ cursor: false, other: true });
  });

  test('at 200x50 there is more, and a change of the size is followed, even by a paused display', async ({
    opened,
  }) => {
    const terminal = await opened({ columns: 200, rows: 50 });
    await terminal.until(/hold p50 .* last 2 min/);
    expect(terminal.lines()[48]).toMatch(/^q quit/);
    terminal.keys('Space');
    await terminal.until(/paused at/);
    for (const [columns, rows] of [
      [60, 15],
      [120, 30],
    ] as const) {
      terminal.resize(columns, rows);
      await terminal.until((text) => /^nonced/.test(text) && text.split('\n')[rows - 2]?.startsWith('q quit') === true);
    }
    terminal.resize(30, 10);
    await terminal.until(/too small/);
  });

  test('keys sort, filter, open an account, help, pause, and quit; the old screen is there again', async ({
    opened,
  }) => {
    const terminal = await opened();
    terminal.keys('s');
    await terminal.until(/s sort: calls/);
    terminal.keys('/', 'a', 'l', 'i');
    await terminal.until((text) => text.includes('filter accounts by: ali_') && !/^ {2}MASTER/m.test(text));
    terminal.keys('Enter', 'Down', 'Enter');
    await terminal.until(/^USER:alice\n[\s\S]* grid-bot +残高照会 .* unsettled/m);
    terminal.keys('Escape');
    await terminal.until(/^> USER:alice/m);
    terminal.keys('h');
    await terminal.until(/^KEYS\n/m);
    terminal.keys('h', 'Space');
    const still = await terminal.until(/paused at/);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(terminal.text()).toBe(still);
    terminal.keys('Space');
    await terminal.until((text) => !text.includes('paused'));
    terminal.keys('q');
    await restoredWith(0, terminal);
  });

  test('Ctrl-C gives the terminal back', async ({ opened }) => {
    const terminal = await opened();
    terminal.keys('C-c');
    await restoredWith(0, terminal);
  });

  test.for([
    ['TERM', 143],
    ['HUP', 129],
  ] as const)('SIG%s gives the terminal back', async ([name, code], { opened, signal }) => {
    const terminal = await opened();
    await signal(name);
    await restoredWith(code, terminal);
  });

  test('an uncaught error gives the terminal back, and can be read', async ({ place, opened, signal }) => {
    const crash = "data:text/javascript,process.on('SIGUSR2',()=>{throw(new(Error)('a-defect'))})";
    const terminal = await opened({}, `NODE_OPTIONS="--import=${crash}" ${top(place.socket)}`);
    await signal('USR2');
    const text = await terminal.until(/ended with \d/);
    expect(text).toContain('Error: a-defect');
    await restoredWith(1, terminal);
  });

  test('Ctrl-Z gives the terminal back, and fg takes it again', async ({ opened }) => {
    const terminal = await opened();
    terminal.keys('C-z');
    await terminal.until(/^before\n[\s\S]*Stopped/m);
    expect(terminal.state()).toEqual({ cursor: true, other: false });
    terminal.type('fg');
    await terminal.until(/^nonced [\s\S]*q quit/);
    expect(terminal.state()).toEqual({ cursor: false, other: true });
    terminal.keys('q');
    await terminal.until(/^before\n/m);
  });

  test('it shows that a daemon goes and another comes, and goes on', async ({ daemon, bot, start, opened }) => {
    const terminal = await opened();
    await daemon.end('SIGKILL');
    await terminal.until(/^! for .*: no daemon answers at /m);
    expect(terminal.text()).toMatch(/^ {2}MASTER/m);
    await start();
    await terminal.until(/^! another daemon has answered for .*, epoch \d+/m);
    await bot.exclusive({ account: 'AFTER' }, async () => {});
    await terminal.until(/^ {2}AFTER/m);
  });

  test('without a daemon from the start, it says so and waits for one', async ({ opened, elsewhere }) => {
    const terminal = await opened({}, top(elsewhere.socket));
    await terminal.until(/^! for .*: no daemon answers at /m);
    await elsewhere.start();
    await terminal.until(/no account is in use/);
  });

  test('NO_COLOR and a terminal that does not take UTF-8 are respected', async ({ opened }) => {
    const terminal = await opened({ env: { NO_COLOR: '1', LANG: 'C' } });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are made of these
    expect(terminal.coloured()).not.toMatch(/\u001b\[[\d;]*m/);
    expect(terminal.text()).toMatch(/up\/down enter: calls/);
  });

  test('wide and combined characters in the names of bots do not move the columns', async ({ raw, opened }) => {
    const odd = await raw();
    await odd.ask('hello', { name: '👩‍🚀e\u0301日本語', pid: 1 });
    const { token } = await odd.ask('acquire', { account: 'MASTER', label: '日本語日本語日本語' });
    const terminal = await opened();
    const text = await terminal.until(/日本語日/);
    expect(text).toMatch(/日本語日本… +\d[\d.]* m?s +\d\d\.\d s +- +-$/m);
    expect(text.split('\n')[22]).toMatch(/^q quit/);
    await odd.ask('release', { token });
  });

  test('a dumb terminal gets a line at each interval', async ({ place, open }) => {
    const terminal = await open({ columns: 160 });
    terminal.type(`TERM=dumb ${top(place.socket)}`);
    await terminal.until(/(?:^\d{4}-\S+Z {2}[\d.-]+ calls\/s .* held .* waiting.*\n){2}/m);
    expect(terminal.state()).toEqual({ cursor: true, other: false });
  });
});

describe('top without a terminal', () => {
  test('prints a line at each interval, and ends when its reader is gone', async ({ place }) => {
    const { stdout, stderr, code } = await shell(`${top(place.socket)} | head -n 3`);
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
    expect(stdout.trimEnd().split('\n')).toHaveLength(3);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });

  test('says that no daemon answers, and goes on when one does', async ({ elsewhere }) => {
    const child = spawn(process.execPath, [NONCED, 'top', '--interval', '100ms', '--socket', elsewhere.socket]);
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    try {
      await eventually('it says so', () => /no daemon answers/.test(said));
      await elsewhere.start();
      await eventually('it goes on', () => /calls\/s/.test(said));
    } finally {
      child.kill();
      await once(child, 'close');
    }
  });

  test('an interval that is too short is misuse', async () => {
    expect(await runInProcess(['top', '--interval', '10ms'])).toMatchObject({ code: 64, stdout: '' });
  });
});
