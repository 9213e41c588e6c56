import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import {
  type AccountPolicy,
  DEFAULT_EXCHANGE,
  type Policies,
  type SequencePolicy,
} from '../../core/accounts/policies.ts';
import { DEFAULT_SEQUENCE } from '../../core/nonces/assignments.ts';
import { EXIT, ExitError, systemErrorCode } from '../../errors.ts';
import { parseJson } from './policy-json.ts';
import { describeProblem, type Problem } from './policy-problem.ts';
import { type Configuration, type ConfiguredAccount, checkConfiguration } from './policy-schema.ts';

/** Room for some ten thousand accounts. */
const LARGEST_FILE_BYTES = 1024 * 1024;

/**
 * Reads what an operator has configured, from the file at each call. Throws ExitError with the first problem and how
 * many more there are; then nothing of the file holds.
 */
export function readPolicyFile(path: string): Policies {
  const read = readConfiguration(path);
  if (read.kind === 'configuration') return new ConfiguredPolicies(read.configuration);
  const [first = '', ...others] = describe(path, read.problems);
  const more =
    others.length === 0 ? '' : `; and ${others.length} more, listed by: nonced serve --config ${path} --check-config`;
  throw new ExitError(EXIT.config, `${first}${more}`);
}

/**
 * Returns everything that is wrong with the file, a line each, its path first. If there is nothing, `readPolicyFile`
 * takes it.
 */
export function checkPolicyFile(path: string): readonly string[] {
  const read = readConfiguration(path);
  return read.kind === 'configuration' ? [] : describe(path, read.problems);
}

function describe(path: string, problems: readonly Problem[]): string[] {
  return problems.map((problem) => `${path}: ${describeProblem(problem)}`);
}

type Read =
  | { readonly kind: 'configuration'; readonly configuration: Configuration }
  | { readonly kind: 'problems'; readonly problems: readonly Problem[] };

function readConfiguration(path: string): Read {
  const text = readText(path);
  if (typeof text !== 'string') return { kind: 'problems', problems: [text] };
  const parsed = parseJson(text);
  if (parsed.kind === 'broken') return { kind: 'problems', problems: [parsed.problem] };
  const checked = checkConfiguration(parsed.value);
  const problems = [...parsed.duplicates, ...('problems' in checked ? checked.problems : [])];
  if ('configuration' in checked && problems.length === 0) {
    return { kind: 'configuration', configuration: checked.configuration };
  }
  return { kind: 'problems', problems };
}

/** Returns the text of the file, or why it cannot be read. */
function readText(path: string): string | Problem {
  const problem = (message: string): Problem => ({ path: [], message });
  let bytes: Buffer;
  try {
    // Without waiting for the other end of a pipe.
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(descriptor);
      if (!stat.isFile()) return problem('is not a regular file; name a file of JSON');
      if ((stat.mode & 0o002) !== 0) {
        return problem(`can be changed by everyone; look at what it says now, then: chmod o-w ${path}`);
      }
      if (stat.size > LARGEST_FILE_BYTES) return problem(tooLarge(stat.size));
      bytes = readFileSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    return problem(cannotRead(error));
  }
  // Looked at again: it may have grown while it was read.
  if (bytes.length > LARGEST_FILE_BYTES) return problem(tooLarge(bytes.length));
  if (bytes.subarray(0, 3).equals(BYTE_ORDER_MARK)) {
    return problem('begins with a byte order mark; save it as UTF-8 without one');
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return problem('is not UTF-8; save it as UTF-8');
  }
  return /^[ \t\n\r]*$/.test(text) ? problem('is empty; a configuration that says nothing is {}') : text;
}

const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

const tooLarge = (bytes: number): string =>
  `has ${bytes} bytes, and ${LARGEST_FILE_BYTES} are the most; is it the right file? A prefix such as "USER:*" configures ` +
  'many accounts at once';

function cannotRead(error: unknown): string {
  const code = systemErrorCode(error);
  if (code === 'ENOENT') return 'does not exist; create it, or name another file (a service sees no home directories)';
  if (code === 'EACCES') {
    const user = process.geteuid?.() ?? '?';
    return `cannot be read by user ${user}, as whom this runs; let that user read it and pass through its directories`;
  }
  if (code === 'ENXIO') return 'is not a regular file; name a file of JSON';
  return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
}

/**
 * Finds an account by its exact name, or else by its longest prefix. What its entry leaves out comes from its exchange.
 */
class ConfiguredPolicies implements Policies {
  readonly sequences: ReadonlyMap<string, SequencePolicy>;
  readonly #exact = new Map<string, AccountPolicy>();
  /** By the length of the prefix, the longest first. */
  readonly #byPrefix: readonly (readonly [length: number, policies: ReadonlyMap<string, AccountPolicy>])[];
  readonly #others: AccountPolicy;

  constructor({ sequences, exchanges, accounts }: Configuration) {
    this.sequences = sequences;
    const policyOf = (account: ConfiguredAccount): AccountPolicy => {
      const name = account.exchange ?? DEFAULT_EXCHANGE;
      const exchange = exchanges.get(name);
      const pacing = account.pacing ?? exchange?.pacing ?? 'none';
      return {
        exchange: name,
        sequence: account.sequence ?? exchange?.sequence ?? DEFAULT_SEQUENCE,
        pacing: pacing === 'none' ? undefined : pacing,
      };
    };
    const byPrefix = new Map<number, Map<string, AccountPolicy>>();
    for (const [pattern, account] of accounts) {
      const policy = policyOf(account);
      if (!pattern.endsWith('*')) {
        this.#exact.set(pattern, policy);
        continue;
      }
      const prefix = pattern.slice(0, -1);
      const ofLength = byPrefix.get(prefix.length) ?? new Map<string, AccountPolicy>();
      byPrefix.set(prefix.length, ofLength.set(prefix, policy));
    }
    this.#byPrefix = [...byPrefix].sort(([a], [b]) => b - a);
    this.#others = policyOf({});
  }

  of(account: string): AccountPolicy {
    const exact = this.#exact.get(account);
    if (exact !== undefined) return exact;
    for (const [length, policies] of this.#byPrefix) {
      const policy = policies.get(account.slice(0, length));
      if (policy !== undefined) return policy;
    }
    return this.#others;
  }
}
