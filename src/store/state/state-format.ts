import { createHash } from 'node:crypto';
import type { BootAnchor, DurableAccount, DurableSequence, DurableState, Placed } from '../../core/ports.ts';
import {
  ACCOUNT_PATTERN,
  EXCLUSION_POLICIES,
  type ExclusionPolicy,
  MAX_SEQUENCES,
  UNITS,
  type Unit,
} from '../../terms.ts';

/** The value of `format`. It changes only when an older program would misread the file, not for a new key. */
export const STATE_FORMAT = 1;

const MAX_NUMBER = 2n ** 64n;

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
/** Keys of a newer minor version. This one keeps them as they are. */
export type ExtraKeys = Readonly<Record<string, Json>>;

/** The daemon that wrote a state. */
export interface StateIdentity {
  /** 32 hex digits. */
  readonly instance: string;
  readonly epoch: number;
  readonly pid: number;
  readonly socket: string;
  /** The fingerprint of the machine whose authority this is; undefined if machines cannot be told apart. */
  readonly machine?: string | undefined;
  /** The wall time when the authority was given up for another machine to take over; undefined while it is ours. */
  readonly retiredAtMs?: number | undefined;
  /**
   * The boot in which leases may have been granted that nothing here names: their notes are in the runtime directory. Null
   * if none are left; undefined in a state of 0.1.
   */
  readonly leasesInBoot?: string | null | undefined;
}

export interface StateFileContents extends StateIdentity {
  readonly state: DurableState;
  readonly extra: ExtraKeys;
  readonly sequenceExtra: Readonly<Record<string, ExtraKeys>>;
}

/** What can be read of a damaged state: every field that is plausible by itself. The others are undefined. */
export interface ReadableFields {
  readonly instance: string | undefined;
  readonly epoch: number | undefined;
  readonly pid: number | undefined;
  readonly socket: string | undefined;
  readonly machine: string | undefined;
  readonly retiredAtMs: number | undefined;
  readonly leasesInBoot: string | null | undefined;
  readonly exclusive: ExclusionPolicy | undefined;
  readonly anchor: BootAnchor | undefined;
  readonly seenWallMs: number | undefined;
  readonly sequences: Readonly<Record<string, DurableSequence>>;
  readonly accounts: ReadonlyMap<string, DurableAccount>;
  readonly extra: ExtraKeys;
  readonly sequenceExtra: Readonly<Record<string, ExtraKeys>>;
}

export type ParsedState =
  | { readonly kind: 'state'; readonly state: StateFileContents }
  /** `intact`: its checksum holds, so it is really newer, and not damaged in that very digit. */
  | { readonly kind: 'newer'; readonly format: number; readonly intact: boolean }
  /** `problem` completes the sentence "the file …". */
  | { readonly kind: 'damaged'; readonly problem: string };

type Unchecked<Key extends string> = { readonly [K in Key]?: unknown };
type RawState = Unchecked<
  | 'format'
  | 'instance'
  | 'epoch'
  | 'pid'
  | 'socket'
  | 'machine'
  | 'retiredAtMs'
  | 'leasesInBoot'
  | 'bootAnchor'
  | 'seenWallMs'
  | 'exclusive'
  | 'sequences'
  | 'accounts'
  | 'paused'
  | 'placed'
  | 'checksum'
>;

/**
 * Returns the bytes of a state file: JSON that people can read. Its last key is the checksum of everything before it.
 */
export function serialiseState(contents: StateFileContents): Buffer {
  const { state } = contents;
  const sequences = Object.entries(state.sequences).map(([name, { unit, ceiling, max }]) => [
    name,
    { unit, ceiling: String(ceiling), max: String(max), ...contents.sequenceExtra[name] },
  ]);
  return serialiseBody({
    format: STATE_FORMAT,
    instance: contents.instance,
    epoch: contents.epoch,
    pid: contents.pid,
    socket: contents.socket,
    machine: contents.machine ?? null,
    retiredAtMs: contents.retiredAtMs ?? null,
    ...(contents.leasesInBoot === undefined ? {} : { leasesInBoot: contents.leasesInBoot }),
    bootAnchor: state.anchor ?? null,
    seenWallMs: state.seenWallMs,
    exclusive: state.exclusive,
    sequences: Object.fromEntries(sequences),
    ...serialiseAccounts(state.accounts, contents.epoch),
    ...contents.extra,
  });
}

/** In which epoch it was last known why accounts are where they are. An epoch begins at 1. */
const NEVER = 0;
const NOT_KNOWN = { epoch: NEVER, accounts: [] };

/**
 * Returns which sequence each account has drawn from, which accounts are paused, and which an operator has placed. An
 * empty key is left out. An earlier version keeps `placed` as it is; the epoch shows that it has written since.
 */
function serialiseAccounts(accounts: ReadonlyMap<string, DurableAccount>, epoch: number): object {
  const drawn: [string, string][] = [];
  const paused: string[] = [];
  const kept: string[] = [];
  let knownIn = epoch;
  for (const [name, account] of accounts) {
    if (account.sequence !== undefined) drawn.push([name, account.sequence]);
    if (account.paused) paused.push(name);
    if (account.placed === 'kept') kept.push(name);
    if (account.placed === 'unknown') knownIn = NEVER;
  }
  return {
    ...(drawn.length === 0 ? {} : { accounts: Object.fromEntries(drawn) }),
    ...(paused.length === 0 ? {} : { paused }),
    ...(drawn.length === 0 ? {} : { placed: { epoch: knownIn, accounts: kept } }),
  };
}

function serialiseBody(body: object): Buffer {
  const checksum = createHash('sha256').update(jsonOf(body)).digest('hex');
  return Buffer.from(jsonOf({ ...body, checksum }));
}

function jsonOf(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** I9: reads a state whole or not at all. */
export function parseState(bytes: Buffer): ParsedState {
  if (bytes.length === 0) return { kind: 'damaged', problem: 'is empty' };
  const raw = parseObject(bytes);
  if (raw === undefined) return { kind: 'damaged', problem: 'is cut short or is not a JSON object' };
  // Compared as bytes, to find the damage too that JSON forgives: white space, escapes, a key twice.
  const { checksum: _, ...body } = raw;
  const intact = isSerialised(body, bytes);
  const { format } = raw;
  if (typeof format === 'number' && Number.isSafeInteger(format) && format > STATE_FORMAT) {
    return { kind: 'newer', format, intact };
  }
  if (!intact) {
    return { kind: 'damaged', problem: 'does not match its checksum: it is damaged or was edited by hand' };
  }
  if (format !== STATE_FORMAT) return { kind: 'damaged', problem: `has an unknown format (${String(format)})` };
  const { fields, problem } = checkFields(raw);
  const { instance, epoch, pid, socket, machine, retiredAtMs, leasesInBoot } = fields;
  const { exclusive, anchor, seenWallMs, sequences, accounts } = fields;
  if (
    problem !== undefined ||
    instance === undefined ||
    epoch === undefined ||
    pid === undefined ||
    socket === undefined ||
    exclusive === undefined ||
    seenWallMs === undefined
  ) {
    return { kind: 'damaged', problem: `has no valid ${problem ?? 'identity'}` };
  }
  const state = { sequences, accounts, exclusive, anchor, seenWallMs };
  const identity = { instance, epoch, pid, socket, machine, retiredAtMs, leasesInBoot };
  const { extra, sequenceExtra } = fields;
  return { kind: 'state', state: { ...identity, state, extra, sequenceExtra } };
}

function isSerialised(body: object, bytes: Buffer): boolean {
  try {
    return serialiseBody(body).equals(bytes);
  } catch {
    // Nested too deep to be written, so it is not ours.
    return false;
  }
}

/** Reads what can be read, only for a repair: no checksum vouches for it. */
export function salvageFields(bytes: Buffer): ReadableFields {
  return checkFields(parseObject(bytes) ?? scanText(bytes.toString())).fields;
}

function parseObject(bytes: Buffer): RawState | undefined {
  try {
    const parsed: unknown = JSON.parse(bytes.toString());
    return isObject(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** Finds the fields of a text that is no longer JSON, by the shape in which they were written. */
function scanText(text: string): RawState {
  const scalar = (key: string): unknown => {
    const found = new RegExp(`^ {2}"${key}": ("(?:[^"\\\\\\n]|\\\\.)*"|\\d+),?$`, 'm').exec(text)?.[1];
    return found === undefined ? undefined : parseQuietly(found);
  };
  const sequences: Record<string, unknown> = {};
  const entry = /"([^"\\\n]+)":\s*\{\s*"unit":\s*"(\w+)",\s*"ceiling":\s*"(\d+)"(?:,\s*"max":\s*"(\d+)")?/g;
  for (const [, name = '', unit, ceiling, max] of text.matchAll(entry)) {
    sequences[name] = { unit, ceiling, max: max ?? String(MAX_NUMBER) };
  }
  return {
    instance: scalar('instance'),
    epoch: scalar('epoch'),
    pid: scalar('pid'),
    socket: scalar('socket'),
    machine: scalar('machine'),
    retiredAtMs: scalar('retiredAtMs'),
    leasesInBoot: scalar('leasesInBoot'),
    seenWallMs: scalar('seenWallMs'),
    exclusive: scalar('exclusive'),
    sequences,
    accounts: parseQuietly(/^ {2}"accounts": (\{[^{}]*\}),?$/m.exec(text)?.[1] ?? '{}'),
    paused: parseQuietly(/^ {2}"paused": (\[[^[\]]*\]),?$/m.exec(text)?.[1] ?? '[]'),
    placed: parseQuietly(/^ {2}"placed": (\{[^{}]*\}),?$/m.exec(text)?.[1] ?? 'null'),
  };
}

function parseQuietly(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Checks every field by itself. `problem` names the first one that is missing or implausible. */
function checkFields(raw: RawState): { fields: ReadableFields; problem: string | undefined } {
  const { format, checksum, instance, epoch, pid, socket, machine, retiredAtMs, ...others } = raw;
  const { leasesInBoot, bootAnchor, seenWallMs, exclusive, sequences, accounts, paused, placed, ...extra } = others;
  let problem: string | undefined;
  const keep = <T>(name: string, value: unknown, isValid: (value: unknown) => value is T): T | undefined => {
    if (isValid(value)) return value;
    problem ??= name;
    return undefined;
  };

  const checked: Record<string, DurableSequence> = {};
  const sequenceExtra: Record<string, ExtraKeys> = {};
  const entries = Object.entries(keep('sequences', sequences, isObject) ?? {});
  const operators = entries.filter(([name]) => !name.startsWith('#')).length;
  if (operators > MAX_SEQUENCES) problem ??= `number of sequences (${operators}, over ${MAX_SEQUENCES})`;
  for (const [name, value] of entries) {
    const sequence = isSequenceName(name) ? sequenceOf(value) : undefined;
    if (sequence === undefined) problem ??= `sequence ${JSON.stringify(name)}`;
    else {
      checked[name] = sequence.sequence;
      if (Object.keys(sequence.extra).length > 0) sequenceExtra[name] = sequence.extra;
    }
  }
  const places = keep('placed', placed ?? NOT_KNOWN, isPlaced) ?? NOT_KNOWN;
  const kept = new Set(places.accounts);
  const placedOf = (name: string): Placed | undefined => {
    if (kept.has(name)) return 'kept';
    return places.epoch === epoch ? undefined : 'unknown';
  };
  const durable = new Map<string, DurableAccount>();
  for (const [name, sequence] of Object.entries(keep('accounts', accounts ?? {}, isObject) ?? {})) {
    const isValid = isAccount(name) && isString(sequence) && Object.hasOwn(checked, sequence);
    if (isValid) durable.set(name, { sequence, paused: false, placed: placedOf(name) });
    else problem ??= `account ${JSON.stringify(name)}`;
  }
  for (const name of keep('paused', paused ?? [], isAccountList) ?? []) {
    durable.set(name, { sequence: undefined, ...durable.get(name), paused: true });
  }
  const fields: ReadableFields = {
    instance: keep('instance', instance, isInstance),
    epoch: keep('epoch', epoch, isEpoch),
    pid: keep('pid', pid, isPid),
    socket: keep('socket', socket, isString),
    machine: keep('machine', machine ?? null, isMachineOrNull) ?? undefined,
    retiredAtMs: keep('retiredAtMs', retiredAtMs ?? null, isTimeOrNull) ?? undefined,
    leasesInBoot: keep('leasesInBoot', leasesInBoot, isBootOrNothing),
    exclusive: keep('exclusive', exclusive, isPolicy),
    seenWallMs: keep('seenWallMs', seenWallMs, isTime),
    anchor: keep('bootAnchor', bootAnchor, isAnchorOrNull) ?? undefined,
    sequences: checked,
    accounts: durable,
    extra: extra as ExtraKeys,
    sequenceExtra,
  };
  return { fields, problem };
}

function sequenceOf(value: unknown): { sequence: DurableSequence; extra: ExtraKeys } | undefined {
  if (!isObject(value)) return undefined;
  const { unit, ceiling, max, ...extra } = value as Unchecked<'unit' | 'ceiling' | 'max'>;
  if (!isUnit(unit) || !isDecimal(ceiling) || !isDecimal(max)) return undefined;
  return { sequence: { unit, ceiling: BigInt(ceiling), max: BigInt(max) }, extra: extra as ExtraKeys };
}

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isString = (value: unknown): value is string => typeof value === 'string';
const isInstance = (value: unknown): value is string => isString(value) && /^[0-9a-f]{32}$/.test(value);
const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value);
const isEpoch = (value: unknown): value is number => isCount(value) && value > 0;
const isPid = (value: unknown): value is number => isCount(value) && value >= 0;
const isPolicy = (value: unknown): value is ExclusionPolicy => EXCLUSION_POLICIES.some((policy) => policy === value);
const isUnit = (value: unknown): value is Unit => UNITS.some((unit) => unit === value);
// `__proto__` would change what it is assigned to instead of becoming a key.
const isSequenceName = (name: string): boolean => /^[!-~]{1,128}$/.test(name) && name !== '__proto__';
// `*` stands for all accounts that are too many to be named.
const isAccount = (name: unknown): name is string => isString(name) && (name === '*' || ACCOUNT_PATTERN.test(name));
const isAccountList = (value: unknown): value is string[] => Array.isArray(value) && value.every(isAccount);
const isPlaced = (value: unknown): value is { readonly epoch: number; readonly accounts: readonly string[] } => {
  if (!isObject(value)) return false;
  const { epoch, accounts } = value as Unchecked<'epoch' | 'accounts'>;
  return isCount(epoch) && epoch >= NEVER && isAccountList(accounts);
};
const isDecimal = (value: unknown): value is string =>
  isString(value) && /^(0|[1-9]\d{0,19})$/.test(value) && BigInt(value) <= MAX_NUMBER;
const isTime = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;
const isTimeOrNull = (value: unknown): value is number | null => value === null || isTime(value);
const isMachineOrNull = (value: unknown): value is string | null => value === null || isInstance(value);

const isBoot = (value: unknown): value is string => isString(value) && /^[!-~]{1,64}$/.test(value);
const isBootOrNothing = (value: unknown): value is string | null | undefined =>
  value === null || value === undefined || isBoot(value);

function isAnchorOrNull(value: unknown): value is BootAnchor | null {
  if (value === null) return true;
  if (!isObject(value)) return false;
  const { bootId, wallMs, uptimeMs } = value as Unchecked<'bootId' | 'wallMs' | 'uptimeMs'>;
  return isBoot(bootId) && isTime(wallMs) && isTime(uptimeMs);
}
