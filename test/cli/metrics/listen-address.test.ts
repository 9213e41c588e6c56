import { expect, test } from 'vitest';
import { parseListenAddress } from '../../../src/cli/metrics/listen-address.ts';

test.each([
  ['127.0.0.1:9464', '127.0.0.1', 9464],
  ['127.8.8.8:80', '127.8.8.8', 80],
  ['localhost:9464', '127.0.0.1', 9464],
  ['[::1]:0', '::1', 0],
])('%s is an address of this host', (text, host, port) => {
  expect(parseListenAddress(text)).toEqual({ kind: 'tcp', host, port });
});

test.each(['/run/metrics.sock', './metrics.sock', '../m/127.0.0.1:9464'])('%s is a Unix socket', (path) => {
  expect(parseListenAddress(path)).toEqual({ kind: 'unix', path });
});

test.each(['0.0.0.0:9464', '192.168.1.5:9464', '[::]:9464', '[fe80::1]:9464', '128.0.0.1:9464'])(
  '%s could be reached by others: it is refused, and says what to do instead',
  (text) => {
    expect(() => parseListenAddress(text)).toThrow(
      expect.objectContaining({ exitCode: 64, message: expect.stringContaining('reverse proxy') }),
    );
  },
);

test.each([
  '',
  '9464',
  ':9464',
  '127.0.0.1',
  '127.0.0.1:',
  '127.0.0.1:99999',
  '127.0.0.1:-1',
  '::1:9464',
  'host:9464',
  '[127.0.0.1]:9464',
  '[]:1',
  '127.0.0.1:9464 ',
])('%j is not an address', (text) => {
  expect(() => parseListenAddress(text)).toThrow(
    expect.objectContaining({ exitCode: 64, message: expect.stringContaining('such as 127.0.0.1:9464') }),
  );
});
