import { expect, test } from 'vitest';
import type { Nonce } from '../../src/core/ports.ts';
import { createLog } from '../../src/daemon/log/log.ts';
import { observerOf } from '../../src/daemon/log/observer.ts';
import { HandedOut } from '../../src/rehearsal/handed-out.ts';

/** What the daemon itself writes, so that the two cannot come to differ. */
function logOf(tell: (observer: ReturnType<typeof observerOf>) => void): string {
  let text = '';
  const stream = { writableLength: 0, write: (line: string) => (text += line), on: () => {} };
  const log = createLog({ level: 'debug', format: 'text', reader: 'other', stream, wallMs: () => 0 });
  tell(observerOf(log, undefined, () => {}));
  return text;
}

const CALL = { account: 'MASTER', holder: 'bot', pid: 7, label: undefined };

test('every nonce that the log names was handed out, singly or several at once, with leases or without', () => {
  const handedOut = new HandedOut(
    logOf((observer) => {
      observer.granted?.({ ...CALL, nonce: 10n as Nonce }, 1);
      observer.granted?.({ ...CALL, nonce: 20n as Nonce }, 3);
      observer.drawn?.('MASTER', 30n as Nonce, 1);
      observer.drawn?.('MASTER', 40n as Nonce, 2);
    }),
  );
  const known = [10n, 20n, 21n, 22n, 30n, 40n, 41n];
  expect(Array.from({ length: 50 }, (_, nonce) => BigInt(nonce)).filter((nonce) => handedOut.has(nonce))).toEqual(
    known,
  );
  expect(handedOut.grants).toBe(2);
});

test('a bot can put nothing into the log that would pass for a grant, and a line that is cut short counts for nothing', () => {
  const forged = logOf((observer) => {
    observer.granted?.({ ...CALL, holder: 'x\ndebug: granted 99 to me', nonce: 10n as Nonce }, 1);
  });
  expect(new HandedOut(forged).has(99n)).toBe(false);
  expect(new HandedOut('debug: granted 1234 to a b').grants).toBe(0);
});
