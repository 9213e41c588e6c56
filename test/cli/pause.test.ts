import { dirname, join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { pause, resume } from '../../src/cli/commands/pause.ts';
import type { PauseResult } from '../../src/protocol/messages.ts';
import { type FakeSocket, fakeSocket, told } from './fake-socket.ts';

let daemon: FakeSocket | undefined;

afterEach(async () => {
  await daemon?.close();
  daemon = undefined;
});

/** Runs the command beside a bots' socket, against an operator's socket that answers with `change`. */
async function run(command: typeof pause, change: PauseResult, json = false) {
  daemon = await fakeSocket('admin.sock', change);
  const socket = join(dirname(daemon.path), 'nonced.sock');
  const { stdout, stderr } = await told((terminal) => command('MASTER', { json, socket }, terminal));
  return { text: stdout, warned: stderr, asked: daemon.asked };
}

test('pause asks the operator’s socket, and says what it means and what ends it', async () => {
  const { text, asked } = await run(pause, { before: 'running', after: 'paused', isKnown: true });
  expect(asked).toEqual([{ method: 'pause', params: { account: 'MASTER' } }]);
  expect(text).toContain('MASTER: running -> paused\n');
  expect(text).toContain('refused with PAUSED. Calls under way go on');
  expect(text).toContain('It stays paused, also after restarts, until: nonced resume MASTER\n');
});

test('pause of an account that is paused says that nothing was changed', async () => {
  const { text } = await run(pause, { before: 'paused', after: 'paused', isKnown: true });
  expect(text).toContain('MASTER is already paused; nothing was changed\n');
  expect(text).toContain('nonced resume MASTER');
  expect(text).not.toContain('->');
});

test('resume asks the operator’s socket, and says that the circuit breaker is closed', async () => {
  const { text, asked } = await run(resume, { before: 'paused', after: 'running', isKnown: true });
  expect(asked).toEqual([{ method: 'resume-account', params: { account: 'MASTER' } }]);
  expect(text).toBe(
    'MASTER: paused -> running\nIts circuit breaker is closed, too: the next call goes to the exchange.\n',
  );
});

test('resume of a label that is misspelt says that nothing was changed, and nothing of a circuit breaker', async () => {
  const { text } = await run(resume, { before: 'running', after: 'running', isKnown: false });
  expect(text).toContain('Nothing was changed.\n');
  expect(text).not.toContain('circuit breaker');
  const paused = await run(resume, { before: 'paused', after: 'running', isKnown: false });
  expect(paused.text).toContain('MASTER: paused -> running\n');
});

test('resume of an account that was not paused still closes its circuit breaker', async () => {
  const { text } = await run(resume, { before: 'running', after: 'running', isKnown: true });
  expect(text).toContain('MASTER was not paused\n');
  expect(text).toContain('circuit breaker is closed');
});

test.each([
  ['pause', pause],
  ['resume', resume],
])('%s --json prints the change alone', async (_name, command) => {
  const change = { before: 'running', after: 'paused', isKnown: false } as const;
  expect(JSON.parse((await run(command, change, true)).text)).toEqual(change);
});

test.each([
  ['pause', pause],
  ['resume', resume],
])('%s of an account that has never drawn warns that its label may be misspelt', async (_name, command) => {
  const { warned } = await run(command, { before: 'running', after: 'paused', isKnown: false });
  expect(warned).toContain('check the label');
  const known = await run(command, { before: 'running', after: 'paused', isKnown: true });
  expect(known.warned).toBe('');
});
