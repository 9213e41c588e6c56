import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { systemClock } from '../../clock.ts';
import { MAX_NONCE } from '../../core/accounts/policies.ts';
import { DEFAULT_SEQUENCE } from '../../core/nonces/assignments.ts';
import { describeUnit, nonceFloorAt, nonceSpanMs, otherUnitOf } from '../../core/nonces/sequence-clock.ts';
import type { DurableSequence, DurableState } from '../../core/ports.ts';
import { BOT_SOCKET } from '../../daemon/host/directories.ts';
import { readBootId, readMachine } from '../../daemon/host/machine.ts';
import { freshState } from '../../daemon/opening.ts';
import { formatDuration } from '../../durations.ts';
import { EXIT, ExitError } from '../../errors.ts';
import { stateCommand } from '../../store/directories.ts';
import { readStateFile, type SalvagedState, salvageStateFile } from '../../store/state/state-file.ts';
import { parseState, type StateFileContents } from '../../store/state/state-format.ts';
import type { Unit } from '../../terms.ts';
import { RELEASED_MS } from '../../version.ts';
import { directories } from '../directories.ts';
import { allowedLeadMs } from '../terminal/output.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { notedStateOf, raisedToNoted } from './noted.ts';
import { changeOffline, type FoundState } from './offline-state.ts';

export interface InitOptions {
  readonly floor: bigint | 'now';
  readonly sequence: string;
  readonly unit?: Unit;
  readonly yes: boolean;
  readonly force: boolean;
  readonly stateDir?: string;
  readonly runtimeDir?: string;
  readonly json: boolean;
}

/**
 * Writes a first or repaired state while no daemon runs. Keeps whatever can be read of an old one, and never lowers it.
 */
export async function init(options: InitOptions, terminal: Terminal): Promise<void> {
  const { stateDir, runtimeDir } = directories(options, terminal.env);
  const wallMs = systemClock().wallMs();
  if (options.floor === 'now' && wallMs < RELEASED_MS) {
    throw new ExitError(
      EXIT.tempFail,
      `the clock says ${new Date(wallMs).toISOString()}, which is before this program was made; set the clock, then try again`,
    );
  }
  await changeOffline(stateDir, readOrSalvage, (found) => {
    const known = found.kind === 'state' ? found.state : found.kind === 'salvaged' ? found : undefined;
    const noted = notedStateOf(known, stateDir, runtimeDir);
    const read = found.kind === 'state' ? found.state.state : found.kind === 'salvaged' ? found : noted?.state;
    const before = read && { ...read, ...raisedToNoted(read, noted?.state ?? read) };
    if (before === undefined && options.sequence !== DEFAULT_SEQUENCE) {
      throw new ExitError(
        EXIT.usage,
        `there is no state in ${stateDir} yet; make it first, with the unit of the sequence ${DEFAULT_SEQUENCE}: ` +
          `${stateCommand('init --floor now --unit UNIT', stateDir)}; then run this command again`,
      );
    }
    const fresh = freshState(options.unit ?? 'ns', wallMs);
    const sequence = raised(options, ownSequence(before?.sequences, options.sequence), wallMs);
    if (found.kind === 'salvaged')
      checkSalvaged(options, { ...before?.sequences, [options.sequence]: sequence }, wallMs);
    const state: DurableState = {
      // What every state has, and this one lacks, begins at the clock.
      sequences: { ...fresh.sequences, ...before?.sequences, [options.sequence]: sequence },
      accounts: before?.accounts ?? fresh.accounts,
      exclusive: before?.exclusive ?? fresh.exclusive,
      // By saying now, the operator says that the clock is right.
      anchor: options.floor === 'now' ? undefined : before?.anchor,
      seenWallMs: options.floor === 'now' ? wallMs : (before?.seenWallMs ?? wallMs),
    };
    if (found.kind === 'state' && found.state.retiredAtMs !== undefined) {
      throw new ExitError(
        EXIT.config,
        `the state in ${stateDir} is retired; take it over first: ${stateCommand('adopt', stateDir)}`,
      );
    }
    const instance = known?.instance ?? noted?.instance;
    const identity = {
      instance: instance ?? randomBytes(16).toString('hex'),
      epoch: epochOf(known?.epoch, noted?.epoch) ?? (found.kind === 'absent' ? 1 : Math.floor(wallMs / 1000)),
      pid: process.pid,
      // Beside it are the notes of the last daemon.
      socket: known?.socket ?? noted?.socket ?? join(runtimeDir, BOT_SOCKET),
      machine: known?.machine ?? noted?.machine ?? readMachine(),
      retiredAtMs: known?.retiredAtMs ?? noted?.retiredAtMs,
      leasesInBoot: leasesLeft(found, noted),
    };
    const kind = found.kind === 'absent' && noted !== undefined ? 'noted' : found.kind;
    const repair: Repair = { stateDir, found: kind, isNewInstance: instance === undefined };
    return { identity, state, done: () => report(options, repair, sequence, terminal) };
  });
}

/** Returns the higher one. If both are lost, the Unix time is above every one that was counted. */
function epochOf(found: number | undefined, noted: number | undefined): number | undefined {
  return found === undefined ? noted : Math.max(found, noted ?? 0);
}

/** Returns the boot in which leases may have been granted. A damaged state does not say that there are none. */
function leasesLeft(found: FoundState, noted: StateFileContents | undefined): string | null | undefined {
  if (found.kind === 'state') return found.state.leasesInBoot;
  return found.kind === 'salvaged' ? (found.leasesInBoot ?? readBootId()) : noted?.leasesInBoot;
}

function readOrSalvage(stateDir: string): ReturnType<typeof readStateFile> | SalvagedState {
  try {
    return readStateFile(stateDir);
  } catch (error) {
    // Repair is for a state that is there and damaged, not for one that this user may not read.
    if (!(error instanceof ExitError) || error.exitCode !== EXIT.config) throw error;
    const salvaged = salvageStateFile(stateDir);
    const parsed = parseState(salvaged.bytes ?? Buffer.alloc(0));
    if (parsed.kind === 'newer' && parsed.intact) throw error;
    return salvaged;
  }
}

function ownSequence(sequences: DurableState['sequences'] | undefined, name: string): DurableSequence | undefined {
  // A name such as constructor must not find the property that every object has.
  return sequences !== undefined && Object.hasOwn(sequences, name) ? sequences[name] : undefined;
}

/** Returns the sequence with its ceiling at the floor that was asked for, or where it was if that is higher. */
function raised(options: InitOptions, before: DurableSequence | undefined, wallMs: number): DurableSequence {
  const { unit: asked, floor } = options;
  if (before !== undefined && asked !== undefined && asked !== before.unit) {
    throw new ExitError(
      EXIT.usage,
      `sequence ${options.sequence} is in ${before.unit}, and its unit can never change: a key that has accepted longer ` +
        'nonces rejects shorter ones for good. If no key has ever used it, start over with another --state-dir, or move ' +
        'state.json away',
    );
  }
  const unit = before?.unit ?? asked;
  if (unit === undefined) {
    throw new ExitError(
      EXIT.usage,
      `give the unit of sequence ${options.sequence}, which can never be changed. It must have as many digits as the ` +
        'nonces that its keys have accepted so far: --unit ns (19 digits), us (16), ms (13), s (10) or counter',
    );
  }
  const meant = floor === 'now' ? undefined : otherUnitOf(floor, unit);
  if (meant !== undefined) {
    throw new ExitError(
      EXIT.usage,
      `${floor} is in ${describeUnit(meant)}, but sequence ${options.sequence} is in ${describeUnit(unit)}; ` +
        'give a floor with that many digits, or --floor now',
    );
  }
  if (floor === 'now' && unit === 'counter') {
    throw new ExitError(EXIT.usage, 'a counter does not follow the clock; give a number: --floor NUMBER');
  }
  const wanted = floor === 'now' ? nonceFloorAt(wallMs, unit) : floor;
  const max = before?.max ?? MAX_NONCE;
  if (wanted > max) throw new ExitError(EXIT.usage, `${wanted} is above the highest nonce, ${max}; give a lower floor`);
  const ceiling = before !== undefined && before.ceiling > wanted ? before.ceiling : wanted;
  const leadMs = nonceSpanMs(wanted - nonceFloorAt(wallMs, unit), unit) ?? 0;
  if (leadMs > allowedLeadMs(options)) {
    throw new ExitError(
      EXIT.usage,
      `${wanted} is ${formatDuration(leadMs)} ahead of the clock, and that cannot be undone; ` +
        'to do it anyway, add --yes (up to 24 h) or --force (any distance)',
    );
  }
  return { unit, max, ceiling };
}

/**
 * Throws ExitError for a ceiling from damaged text that may be part of the damage: one too far ahead spoils its keys.
 */
function checkSalvaged(options: InitOptions, sequences: DurableState['sequences'], wallMs: number): void {
  for (const [name, { unit, ceiling, max }] of Object.entries(sequences)) {
    const leadMs = nonceSpanMs(ceiling - nonceFloorAt(wallMs, unit), unit) ?? 0;
    if (ceiling <= max && leadMs <= allowedLeadMs(options)) continue;
    throw new ExitError(
      EXIT.usage,
      `the damaged state says that sequence ${name} begins at ${ceiling}, ${formatDuration(leadMs)} ahead of the clock, ` +
        'which may be part of the damage. If it is right, add --yes (up to 24 h) or --force (any distance). If not, move ' +
        'the file away and give --floor and --unit',
    );
  }
}

interface Repair {
  readonly stateDir: string;
  /** What was there. `noted`: nothing, and the notes of this boot had it. */
  readonly found: keyof typeof DID;
  /** Programs that knew the state before refuse this one. */
  readonly isNewInstance: boolean;
}

const DID = {
  absent: 'made a new state',
  noted: 'brought back the state that was noted in this boot,',
  state: 'kept the state',
  salvaged: 'repaired the damaged state',
} as const;

function report(
  { sequence: name, json }: InitOptions,
  { stateDir, found, isNewInstance }: Repair,
  { unit, ceiling }: DurableSequence,
  terminal: Terminal,
): void {
  const now = nonceFloorAt(systemClock().wallMs(), unit);
  const begins = ceiling > now ? ceiling : now;
  if (json) {
    terminal.printJson({ stateDir, found, newInstance: isNewInstance, sequence: name, unit, floor: ceiling });
    return;
  }
  terminal.printLine(`${DID[found]} in ${stateDir}: sequence ${name}, ${describeUnit(unit)}, begins at ${begins}`);
  if (isNewInstance) {
    terminal.printLine(
      'It is a new instance: restart every bot that was connected before, for it refuses another one.',
    );
  }
}
