import { InvalidArgumentError } from 'commander';
import { ACTS, type ActName } from '../../rehearsal/acts.ts';
import { ACCOUNT_FORM, ACCOUNT_PATTERN } from '../../terms.ts';
import type { Moment } from '../timeline/times.ts';

const MAX_UINT64 = 2n ** 64n - 1n;

/** Takes a path. An empty one, such as a shell variable that is not set, would stand for the working directory. */
export function parsePath(text: string): string {
  if (text === '') throw new InvalidArgumentError('it is empty; give a path, or leave the option out.');
  return text;
}

/**
 * Reads a duration as people write it ("250ms", "60s", "5m", "2h"; a bare number is seconds) and returns milliseconds.
 */
export function parseDuration(text: string): number {
  const [, amount, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  if (amount === undefined) throw new InvalidArgumentError('give a duration such as 250ms, 60s, 5m or 2h.');
  const ms = Math.round(Number(amount) * { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[unit as 'ms' | 's' | 'm' | 'h']);
  if (!Number.isSafeInteger(ms)) throw new InvalidArgumentError('that is too long; give less.');
  return ms;
}

/** Reads how long ago (10m), or a time (2026-11-28T22:40Z; without a zone, in the zone of this host). */
export function parseMoment(text: string): Moment {
  if (/^\d{4}-\d\d-\d\d/.test(text)) {
    const ms = Date.parse(text.replace(' ', 'T'));
    // ISO 8601 ends before the year 10,000.
    if (ms >= 0 && ms < 253_402_300_800_000) return { kind: 'at', ms };
  } else if (/^\d/.test(text)) return { kind: 'ago', ms: parseDuration(text) };
  throw new InvalidArgumentError('give how long ago, such as 10m, or a time such as 2026-11-28T22:40Z.');
}

export function parseCounter(text: string): bigint {
  if (!/^\d{1,19}$/.test(text)) throw new InvalidArgumentError('give a number in decimal digits.');
  return BigInt(text);
}

export function parseInterval(text: string): number {
  const ms = parseDuration(text);
  if (ms < 100) throw new InvalidArgumentError('give at least 100ms.');
  return ms;
}

/** Reads a duration that must have its unit: 5 could mean nonces, and an advance cannot be undone. */
export function parseSpan(text: string): number {
  if (/^\d+$/.test(text)) throw new InvalidArgumentError('give the unit as well: 250ms, 60s, 5m or 2h.');
  return parseDuration(text);
}

export function parseCount(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text) || Number(text) > 1000)
    throw new InvalidArgumentError('give a number from 1 to 1000.');
  return Number(text);
}

export function parseListed(text: string): number {
  if (!/^[1-9]\d?$|^100$/.test(text)) throw new InvalidArgumentError('give a number from 1 to 100.');
  return Number(text);
}

export function parseSequence(text: string): string {
  const [, account] = /^account:(.+)$/.exec(text) ?? [];
  if (account !== undefined) {
    throw new InvalidArgumentError(`that is the account's own sequence; give --account ${account} instead.`);
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) {
    throw new InvalidArgumentError(
      'give 1 to 64 letters, digits, dots, dashes or underscores, beginning with a letter or digit.',
    );
  }
  return text;
}

export function parseNonce(text: string): bigint | 'now' {
  if (text === 'now') return 'now';
  if (!/^\d{1,20}$/.test(text) || BigInt(text) > MAX_UINT64) {
    throw new InvalidArgumentError('give a nonce in decimal digits, below 2^64, or the word now.');
  }
  return BigInt(text);
}

/** Reads a size as people write it ("16M", "512K", "1G") and returns bytes. */
export function parseCallLogSize(text: string): number {
  const [, amount, unit] = /^(\d{1,6})([KMG])$/.exec(text) ?? [];
  const bytes = Number(amount) * { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }[unit as 'K' | 'M' | 'G'];
  if (!(bytes >= 2 ** 20 && bytes <= 2 ** 34)) throw new InvalidArgumentError('give a size from 1M to 16G.');
  return bytes;
}

export function parseScale(text: string): number {
  const scale = Number(text);
  if (!(scale > 0 && scale <= 100))
    throw new InvalidArgumentError('give a number above 0 and at most 100, such as 0.5.');
  return scale;
}

/** Reads words with commas between them. */
export function parseWords(text: string): string[] {
  const words = text.split(',').map((word) => word.trim());
  if (words.some((word) => word === '')) throw new InvalidArgumentError('give words with commas between them.');
  return words;
}

export function parseActs(text: string): ActName[] {
  const names = Object.keys(ACTS) as ActName[];
  const asked = parseWords(text);
  const unknown = asked.find((word) => !names.some((name) => name === word));
  if (unknown !== undefined)
    throw new InvalidArgumentError(`${unknown} is not an act; give some of ${names.join(',')}.`);
  return names.filter((name) => asked.includes(name));
}

export function parseAccounts(text: string): string[] {
  const accounts = parseWords(text);
  if (!accounts.every((account) => ACCOUNT_PATTERN.test(account))) {
    throw new InvalidArgumentError(`give labels of ${ACCOUNT_FORM}, with commas between them.`);
  }
  return [...new Set(accounts)];
}
