import { describe, expect, test } from 'vitest';
import { KRAKEN_OUTCOMES, LOW_NONCE } from '../src/client/exchanges/answers.ts';
import { ERROR_CODES } from '../src/errors.ts';
import { MAX_MESSAGE_BYTES, PROTOCOL } from '../src/protocol/messages.ts';
import { ADDITIONS, MINOR } from '../src/protocol/minor.ts';
import {
  DEFAULT_ACCOUNT,
  DEFAULT_NONCE_WAIT_MS,
  DEFAULT_PRIORITY,
  DEFAULT_TTL_MS,
  DEFAULT_WAIT_MS,
  EXCLUSION_POLICIES,
  MAX_TEXT_BYTES,
  MAX_WITHIN,
  OUTCOMES,
  PRIORITIES,
  UNITS,
} from '../src/terms.ts';
import { pythonSkipped } from './fixtures/python.ts';
import { run } from './fixtures/shell.ts';

/** The terms that the client for Python has a copy of, in `nonced.py` or `nonced_kraken.py`. */
const TERMS = {
  UNITS,
  PRIORITIES,
  OUTCOMES,
  ERROR_CODES,
  EXCLUSION_POLICIES,
  DEFAULT_ACCOUNT,
  DEFAULT_PRIORITY,
  DEFAULT_TTL_MS,
  DEFAULT_WAIT_MS,
  DEFAULT_NONCE_WAIT_MS,
  MAX_MESSAGE_BYTES,
  MAX_WITHIN,
  PROTOCOL,
  MINOR,
  ADDITIONS: ADDITIONS.map(({ method, field, since, purpose }) => [method, field ?? null, since, purpose]),
  MAX_TEXT_BYTES,
  KRAKEN_OUTCOMES: KRAKEN_OUTCOMES.map(([words, told]) => [words.source, told]),
  LOW_NONCE: LOW_NONCE.source,
};

/** Prints the constants of these names as JSON; those that are not public begin with an underscore. */
const PRINT_TERMS = `
import json, sys
import nonced, nonced_kraken
known = {**vars(nonced_kraken), **vars(nonced)}
print(json.dumps({name: known.get(name, known.get('_' + name)) for name in sys.argv[1:]}))
`;

describe.skipIf(pythonSkipped !== '')(`the terms of the client for Python${pythonSkipped}`, async () => {
  const printed = pythonSkipped === '' ? await printedTerms() : {};

  test.each(Object.entries(TERMS))('%s in Python and in TypeScript are the same', (name, ours) => {
    expect(printed[name]).toStrictEqual(ours);
  });
});

async function printedTerms(): Promise<Record<string, unknown>> {
  const result = await run('python3', ['-B', '-c', PRINT_TERMS, ...Object.keys(TERMS)], {
    PYTHONPATH: 'clients/python',
  });
  if (result.code !== 0) throw new Error(result.stderr);
  return JSON.parse(result.stdout);
}
