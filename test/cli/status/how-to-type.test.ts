import { expect, test } from 'vitest';
import { howToType } from '../../../src/cli/status/how-to-type.ts';

test.each([
  ['finds the daemon by itself', undefined, undefined, true, 'nonced why A', 'nonced drain'],
  ['may not operate', undefined, undefined, false, 'nonced why A', 'sudo nonced drain'],
  ['has named a socket', '/s', undefined, true, 'nonced why A --socket /s', 'nonced drain --socket /s'],
  ['has it in the environment', '/s', '/s', true, 'nonced why A', 'nonced drain'],
  ['has it there, where sudo drops it', '/s', '/s', false, 'nonced why A', 'sudo nonced drain --socket /s'],
  ['has named another', '/t', '/s', true, 'nonced why A --socket /t', 'nonced drain --socket /t'],
])('a reader who %s', (_what, asked, fromEnvironment, isOperator, look, operate) => {
  const type = howToType({ asked, fromEnvironment, isOperator, isService: false });
  expect([type.look('why A'), type.operate('drain')]).toEqual([look, operate]);
});

test('the state of a service is changed as the user of the service', () => {
  const reader = { asked: undefined, fromEnvironment: undefined, isOperator: true };
  const typed = (isService: boolean) => howToType({ ...reader, isService }).repair("state forget 'order-*'");
  expect(typed(true)).toBe("sudo -u nonced nonced state forget 'order-*' --state-dir /var/lib/nonced");
  expect(typed(false)).toBe("nonced state forget 'order-*'");
});
