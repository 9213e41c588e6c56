import { join } from 'node:path';
import { systemClock } from '../../clock.ts';
import { nonceFloorAt } from '../../core/nonces/sequence-clock.ts';
import type { DurableSequence } from '../../core/ports.ts';
import { readMachine } from '../../daemon/host/machine.ts';
import { EXIT, ExitError } from '../../errors.ts';
import { readStateFile, STATE_FILE } from '../../store/state/state-file.ts';
import { directories } from '../directories.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { changeOffline, stateOf } from './offline-state.ts';

export interface MovingOptions {
  readonly stateDir?: string;
}

/** Gives up the authority of this host. Leaves a tombstone, with which no daemon starts. */
export async function retire(options: MovingOptions, terminal: Terminal): Promise<void> {
  const { stateDir } = directories(options, terminal.env);
  await changeOffline(stateDir, readStateFile, (found) => {
    const { state, ...identity } = stateOf(found, stateDir);
    if (identity.retiredAtMs !== undefined) {
      terminal.printLine(
        `the state in ${stateDir} was already retired, on ${new Date(identity.retiredAtMs).toISOString()}`,
      );
      return undefined;
    }
    const machine = readMachine();
    if (identity.machine !== undefined && machine !== undefined && identity.machine !== machine) {
      throw new ExitError(
        EXIT.config,
        `the state in ${stateDir} is a copy of another machine's, and a tombstone here would not stop that machine; ` +
          'run `nonced state retire` there and copy the state again',
      );
    }
    return {
      identity: { ...identity, retiredAtMs: systemClock().wallMs() },
      state,
      done() {
        terminal.printLine(`retired the state in ${stateDir}: no daemon starts with it any more.`);
        terminal.printLine(`Now copy ${join(stateDir, STATE_FILE)} to the new host and run there: nonced state adopt`);
      },
    };
  });
}

export interface AdoptOptions extends MovingOptions {
  readonly force: boolean;
  /** Where counters go on, which no clock can raise. */
  readonly counterFloor?: bigint;
}

/** Takes over on this host the authority of a state that was copied here. */
export async function adopt({ force, counterFloor, ...options }: AdoptOptions, terminal: Terminal): Promise<void> {
  const { stateDir } = directories(options, terminal.env);
  const machine = readMachine();
  const wallMs = systemClock().wallMs();
  await changeOffline(stateDir, readStateFile, (found) => {
    const { state, ...identity } = stateOf(found, stateDir);
    const isForeign = identity.machine !== undefined && machine !== undefined && identity.machine !== machine;
    const isRetired = identity.retiredAtMs !== undefined;
    if (!isForeign && !isRetired) {
      terminal.printLine(`the state in ${stateDir} already belongs to this host; nothing was changed`);
      return undefined;
    }
    // Retired here and copied nowhere, or not retired there: only an operator can know.
    if (!force && isForeign !== isRetired) throw unsafe(stateDir, isRetired);
    // Without a tombstone the old host may have gone on after the copy was made.
    const raised = isRetired ? state.sequences : raisedToNow(state.sequences, wallMs, counterFloor);
    return {
      identity: { ...identity, machine, retiredAtMs: undefined },
      // Readings of another machine's clocks mean nothing here.
      state: { ...state, sequences: raised, anchor: undefined },
      done: () => terminal.printLine(`adopted the state in ${stateDir}: the daemon can be started here.`),
    };
  });
}

function unsafe(stateDir: string, isRetired: boolean): ExitError {
  return new ExitError(
    EXIT.config,
    isRetired
      ? `the state in ${stateDir} was retired on this very host; if no other host has adopted it, add --force`
      : `the state in ${stateDir} was copied from another machine that was not retired, and two hosts with one state ` +
          'hand out the same nonces; run `nonced state retire` there and copy the state again, or, if that machine is ' +
          'gone for good, add --force: the sequences are then raised to the clock',
  );
}

function raisedToNow(
  sequences: Readonly<Record<string, DurableSequence>>,
  wallMs: number,
  counterFloor: bigint | undefined,
): Readonly<Record<string, DurableSequence>> {
  const raised = Object.entries(sequences).map(([name, sequence]) => {
    if (sequence.unit === 'counter' && counterFloor === undefined) {
      throw new ExitError(
        EXIT.config,
        `sequence ${name} is a counter, and it is not known how far the other machine has counted; ` +
          'give a number above that: --counter-floor NUMBER',
      );
    }
    const floor = sequence.unit === 'counter' ? (counterFloor ?? 0n) : nonceFloorAt(wallMs, sequence.unit);
    return [name, { ...sequence, ceiling: floor > sequence.ceiling ? floor : sequence.ceiling }] as const;
  });
  return Object.fromEntries(raised);
}
