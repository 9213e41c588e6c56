import * as v from 'valibot';
import { MAX_NONCE, type Pacing, type SequencePolicy } from '../../core/accounts/policies.ts';
import { nonceFloorAt } from '../../core/nonces/sequence-clock.ts';
import { quote } from '../../protocol/quote.ts';
import { LONGEST_DRAIN_MS } from '../../store/notes/account-notes.ts';
import { ACCOUNT_FORM, ACCOUNT_PATTERN, MAX_SEQUENCES, NAME_FORM, NAME_PATTERN, UNITS } from '../../terms.ts';
import { RELEASED_MS } from '../../version.ts';
import { isObject, mapOf, object, type Schema, step } from './policy-objects.ts';
import { type Problem, suggestion } from './policy-problem.ts';

/** What the file says about pacing. `none` is for an account of a paced exchange. */
export type ConfiguredPacing = Pacing | 'none';

export interface ConfiguredExchange {
  readonly sequence?: string | undefined;
  readonly pacing?: ConfiguredPacing | undefined;
}

export interface ConfiguredAccount extends ConfiguredExchange {
  readonly exchange?: string | undefined;
}

/** The configuration file, checked. */
export interface Configuration {
  readonly sequences: ReadonlyMap<string, SequencePolicy>;
  readonly exchanges: ReadonlyMap<string, ConfiguredExchange>;
  /** By name, or by a pattern that ends in a star. */
  readonly accounts: ReadonlyMap<string, ConfiguredAccount>;
}

/** Kraken's call counters by verification tier. */
export const PRESETS = {
  'kraken-starter': { max: 15, perSecond: 0.33 },
  'kraken-intermediate': { max: 20, perSecond: 0.5 },
  'kraken-pro': { max: 20, perSecond: 1 },
} as const satisfies Readonly<Record<string, Pacing>>;

const HIGHEST_MAX = 2n ** 64n - 1n;
const MOST = 1_000_000;
/** Without `__proto__`: the state file cannot hold a key of that name. */
const SEQUENCE_NAME = new RegExp(`(?!^__proto__$)${NAME_PATTERN.source}`);
const ACCOUNTS = new RegExp(`${ACCOUNT_PATTERN.source.slice(0, -1)}\\*?$|^\\*$`);
const ACCOUNTS_FORM = `${ACCOUNT_FORM}, with a star at the end for all that begin with it; * alone is for every account`;

/** Checks what a configuration file holds. Returns the configuration, or every problem at once. */
export function checkConfiguration(
  value: unknown,
): { readonly configuration: Configuration } | { readonly problems: readonly Problem[] } {
  const checked = v.safeParse(configuration(value), value);
  if (checked.success) return { configuration: checked.output };
  return { problems: checked.issues.map(({ path, message }) => ({ path: keysOf(path), message })) };
}

/**
 * Returns the schema for `value`. It accepts references to the names in `value` itself, even if their entries are
 * wrong.
 */
function configuration(value: unknown): Schema<Configuration> {
  const sequence = reference('sequence', [...new Set(['default', ...namesIn(value, 'sequences', SEQUENCE_NAME)])]);
  const exchange = reference('exchange', [...new Set(['default', ...namesIn(value, 'exchanges', NAME_PATTERN)])]);
  const ofExchange = { sequence: v.optional(sequence), pacing: v.optional(PACING) };
  const ofAccount = { exchange: v.optional(exchange), ...ofExchange };
  const sections = object({
    sequences: v.optional(v.pipe(mapOf('sequence', SEQUENCE_NAME, NAME_FORM, SEQUENCE), v.rawCheck(checkSequences))),
    exchanges: v.optional(mapOf('exchange', NAME_PATTERN, NAME_FORM, object(ofExchange))),
    accounts: v.optional(mapOf('account', ACCOUNTS, ACCOUNTS_FORM, object(ofAccount))),
  });
  return v.pipe(
    sections,
    v.transform(({ sequences, exchanges, accounts }) => ({
      sequences: sequences ?? new Map(),
      exchanges: exchanges ?? new Map(),
      accounts: accounts ?? new Map(),
    })),
  );
}

function namesIn(value: unknown, section: string, pattern: RegExp): string[] {
  const named = isObject(value) ? value[section] : undefined;
  return isObject(named) ? Object.keys(named).filter((key) => pattern.test(key)) : [];
}

const UNIT = v.picklist(UNITS, ({ input }) => `${quote(input)} is not a unit; use ${UNITS.join(', ')}`);

const SEQUENCE_MAX = v.pipe(
  v.custom<string | number>(
    isNonce,
    ({ input }) =>
      `${quote(input)} is not a highest nonce; give digits in quotes, 1 to ${HIGHEST_MAX}, or a whole number up to ` +
      `${Number.MAX_SAFE_INTEGER} (JSON does not keep a larger one exactly)`,
  ),
  v.transform((digits) => BigInt(digits)),
);

function isNonce(value: unknown): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value > 0;
  return typeof value === 'string' && /^[1-9]\d{0,19}$/.test(value) && BigInt(value) <= HIGHEST_MAX;
}

const SEQUENCE: Schema<SequencePolicy> = v.pipe(
  object(
    { unit: UNIT, max: v.optional(SEQUENCE_MAX, String(MAX_NONCE)) },
    { unit: `give the one that its keys have had so far: ${UNITS.join(', ')}` },
  ),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const { unit, max } = dataset.value;
    const now = nonceFloorAt(RELEASED_MS, unit);
    if (max >= now) return;
    const message = `${max} is below every nonce in ${unit} (now ${now}); use the unit of its keys, or a higher max`;
    addIssue({ message, path: [step(dataset.value, 'max', max)] });
  }),
);

function checkSequences({ dataset, addIssue }: v.RawCheckContext<ReadonlyMap<string, SequencePolicy>>): void {
  if (!dataset.typed) return;
  // The state has one of this name even if the file does not mention it.
  const count = new Set(['default', ...dataset.value.keys()]).size;
  if (count > MAX_SEQUENCES) {
    addIssue({
      message: `there are ${count}, with default, and at most ${MAX_SEQUENCES} are allowed; remove some`,
    });
  }
}

const PRESET_NAMES = [...Object.keys(PRESETS), 'none'] as (keyof typeof PRESETS | 'none')[];
const PRESET = v.pipe(
  v.picklist(
    PRESET_NAMES,
    ({ input }) => `${quote(input)} is not a preset; ${suggestion(String(input), PRESET_NAMES)}`,
  ),
  v.transform((name): ConfiguredPacing => (name === 'none' ? name : PRESETS[name])),
);

const BUCKET: Schema<ConfiguredPacing> = v.pipe(
  object(
    {
      max: v.pipe(
        v.number(({ input }) => `${quote(input)} is not a number; give one from 1 to ${MOST}`),
        v.check(
          (max) => max >= 1 && max <= MOST,
          ({ input }) => `${input} is out of range; give 1 (the default cost of a call) to ${MOST}`,
        ),
      ),
      perSecond: v.pipe(
        v.number(({ input }) => `${quote(input)} is not a number; give one above 0, at most ${MOST}`),
        v.check(
          (perSecond) => perSecond > 0 && perSecond <= MOST,
          ({ input }) => `${input} is out of range; give a number above 0, at most ${MOST}`,
        ),
      ),
    },
    { max: 'give the size of the bucket, such as 15', perSecond: 'give how fast it drains, such as 0.33' },
  ),
  v.check(
    ({ max, perSecond }) => max / perSecond <= LONGEST_DRAIN_MS / 1000,
    ({ input: { max, perSecond } }) =>
      `a full bucket would take ${Math.ceil(max / perSecond)} s to drain, and ${LONGEST_DRAIN_MS / 1000} s is the most; ` +
      'lower max or raise perSecond',
  ),
);

const PACING: Schema<ConfiguredPacing> = v.lazy((input) => {
  if (typeof input === 'string') return PRESET;
  if (isObject(input)) return BUCKET;
  return v.never(
    `${quote(input)} is not a pacing; give {"max": 15, "perSecond": 0.33}, a preset ` +
      `(${Object.keys(PRESETS).join(', ')}), or "none"`,
  );
});

/** Returns the schema of a name that must be among `known`. */
function reference(what: string, known: readonly string[]): Schema<string> {
  return v.pipe(
    v.string(
      ({ input }) =>
        `${quote(input)} is not a name; give one of those under ${what}s, such as ${known.slice(0, 8).map(quote).join(', ')}`,
    ),
    v.check(
      (name) => known.includes(name),
      ({ input }) => `there is no ${what} ${quote(input)} under ${what}s; ${suggestion(input, known)}`,
    ),
  );
}

function keysOf(path: readonly v.IssuePathItem[] = []): string[] {
  return path.map(({ key }) => String(key));
}
