import { expect, test } from 'vitest';
import { Terminal } from '../../../src/cli/terminal/terminal.ts';
import { EXIT, ExitError } from '../../../src/errors.ts';
import { pipe } from '../../fixtures/command-line.ts';

const stream = (isTTY: boolean, columns = 80) => {
  const written: string[] = [];
  return { isTTY, columns, written, write: (text: string) => written.push(text) };
};

test('only a terminal is painted, each stream by itself, and none if NO_COLOR is set', () => {
  const [stdout, stderr] = [stream(true), stream(false)];
  expect(new Terminal({ stdout, stderr, env: {} }).paint('red', 'x')).toBe('\u001b[31mx\u001b[39m');
  expect(new Terminal({ stdout, stderr, env: { NO_COLOR: '1' } }).paint('red', 'x')).toBe('x');
  expect(new Terminal({ stdout: stderr, stderr: stdout, env: {} }).paint('red', 'x')).toBe('x');
  new Terminal({ stdout, stderr, env: {} }).warn('take care');
  new Terminal({ stdout: stderr, stderr: stdout, env: {} }).warn('take care');
  expect(stderr.written).toEqual(['nonced: warning: take care\n']);
  expect(stdout.written).toEqual(['nonced: \u001b[33mwarning:\u001b[39m take care\n']);
});

test('lines are as wide as the terminal, and what goes elsewhere is not cut', () => {
  const stderr = stream(false);
  expect(new Terminal({ stdout: stream(true, 60), stderr, env: {} }).columns).toBe(60);
  expect(new Terminal({ stdout: stream(false, 60), stderr, env: {} }).columns).toBe(Number.POSITIVE_INFINITY);
});

test('JSON has nonces as decimal strings, with every digit', () => {
  const { terminal, result } = pipe();
  terminal.printJson({ nonce: 1_795_365_006_294_000_001n });
  expect(result().stdout).toBe('{\n  "nonce": "1795365006294000001"\n}\n');
});

test('a failure is one line on standard error, and an exit code', () => {
  const { terminal, result } = pipe();
  terminal.fail(new ExitError(EXIT.config, 'the state is damaged; restore it'));
  expect(result()).toEqual({ code: 78, stdout: '', stderr: 'nonced: the state is damaged; restore it\n' });
});
