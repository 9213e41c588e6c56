import * as v from 'valibot';
import { quote } from '../../protocol/quote.ts';
import { suggestion } from './policy-problem.ts';

/** A valibot schema that takes anything and returns a T. */
export type Schema<T> = v.GenericSchema<unknown, T>;

type Told = Readonly<Record<string, unknown>>;
type AddIssue = v.RawTransformContext<Told>['addIssue'];

/** A key that every object may have, for the operator's own words. */
const COMMENT = '$comment';

/**
 * Returns the schema of an object with these keys and no other. `missing` says what belongs under a required key. This
 * is not valibot's strictObject, which reports only the first unknown key and takes `constructor` for a known one.
 */
export function object<Entries extends v.ObjectEntries>(
  entries: Entries,
  missing: Partial<Readonly<Record<keyof Entries, string>>> = {},
): Schema<v.InferOutput<v.ObjectSchema<Entries, undefined>>> {
  const keys = Object.keys(entries);
  const known = v.object(entries, ({ path }) => `is missing; ${missing[String(path?.at(-1)?.key)]}`);
  return v.pipe(
    v.custom<Told>(isObject, notAnObject),
    v.rawTransform(({ dataset: { value }, addIssue, NEVER }) => {
      for (const key of Object.keys(value)) {
        if (keys.includes(key)) continue;
        if (key === COMMENT) checkComment(value, addIssue);
        else addIssue({ message: `unknown key; ${suggestion(key, keys)}`, path: [step(value, key, value[key])] });
      }
      const checked = v.safeParse(known, value);
      if (checked.success) return checked.output;
      for (const { message, path } of checked.issues) addIssue({ message, ...(path && { path }) });
      return NEVER;
    }),
  );
}

/**
 * Returns the schema of an object whose keys the operator chooses, each the name of a `what`. This is not valibot's
 * record, which leaves out a key such as `constructor`.
 */
export function mapOf<T>(
  what: string,
  pattern: RegExp,
  wanted: string,
  entry: Schema<T>,
): Schema<ReadonlyMap<string, T>> {
  return v.pipe(
    v.custom<Told>(isObject, notAnObject),
    v.rawTransform(({ dataset: { value }, addIssue }) => {
      const entries = new Map<string, T>();
      for (const [key, configured] of Object.entries(value)) {
        const path = step(value, key, configured);
        if (key === COMMENT) checkComment(value, addIssue);
        else if (!pattern.test(key)) {
          addIssue({
            message: `${quote(key)} is not a name for ${article(what)} ${what}; use ${wanted}`,
            path: [path],
          });
        } else {
          const checked = v.safeParse(entry, configured);
          if (checked.success) entries.set(key, checked.output);
          else for (const { message, path: rest = [] } of checked.issues) addIssue({ message, path: [path, ...rest] });
        }
      }
      return entries;
    }),
  );
}

const article = (noun: string): string => (/^[aeiou]/.test(noun) ? 'an' : 'a');

function checkComment(value: Told, addIssue: AddIssue): void {
  if (typeof value[COMMENT] === 'string') return;
  addIssue({ message: 'a comment must be a text in quotes', path: [step(value, COMMENT, value[COMMENT])] });
}

function notAnObject({ input }: { readonly input: unknown }): string {
  return `is ${quote(input)}, but must be an object {…}`;
}

/** Whether a value is what JSON calls an object. */
export function isObject(value: unknown): value is Told {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Returns the step from an object to the value of one of its keys, for the path of an issue. */
export function step(input: object, key: string, value: unknown): v.ObjectPathItem {
  return { type: 'object', origin: 'value', input: input as Record<string, unknown>, key, value };
}
