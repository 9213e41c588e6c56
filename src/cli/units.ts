import { EXIT, ExitError } from '../errors.ts';
import type { Unit } from '../terms.ts';
import { NONCES_PER_SECOND } from '../terms.ts';

/** So many nonces as `unit` has in `ms`, at least one. Throws ExitError for a counter, which knows no time. */
export function nonceSpan(ms: number, unit: Unit): bigint {
  if (unit === 'counter') throw new ExitError(EXIT.usage, 'a counter knows no time; give a nonce with --to');
  const span = (BigInt(ms) * NONCES_PER_SECOND[unit]) / 1000n;
  if (span >= 2n ** 64n)
    throw new ExitError(EXIT.usage, `so much time is ${span} nonces, more than there are; give less`);
  return span > 0n ? span : 1n;
}

/** When the clock comes to stand at `nonce`, in milliseconds since the Unix epoch, rounded up. Throws as nonceSpan does. */
export function nonceTimeMs(nonce: bigint, unit: Unit): number {
  if (unit === 'counter')
    throw new ExitError(EXIT.usage, 'a counter is never ahead of the clock; leave out --own-clock');
  return Math.ceil(Number((nonce * 1_000_000n) / NONCES_PER_SECOND[unit]) / 1000);
}
