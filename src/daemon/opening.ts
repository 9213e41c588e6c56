import { MAX_NONCE, type Policies } from '../core/accounts/policies.ts';
import { DEFAULT_SEQUENCE } from '../core/nonces/assignments.ts';
import { TOKEN_SEQUENCE } from '../core/nonces/ledger.ts';
import { nonceFloorAt } from '../core/nonces/sequence-clock.ts';
import { startingState, summariseProblem } from '../core/operator/policy-plan.ts';
import type { DurableSequence, DurableState } from '../core/ports.ts';
import { EXIT, ExitError } from '../errors.ts';
import { type NotedState, rolledBack } from '../store/notes/state-note.ts';
import type { StateFileReading } from '../store/state/state-file.ts';
import type { StateFileContents, StateIdentity } from '../store/state/state-format.ts';
import type { Unit } from '../terms.ts';
import { RELEASED_MS } from '../version.ts';

/** Tokens are JavaScript numbers in many clients. */
const MAX_TOKEN = 2n ** 53n - 1n;

/** The traces of an earlier state. */
export interface Traces {
  /** The installation made one. */
  readonly isService: boolean;
  /** The lock of a daemon that did not stop cleanly. */
  readonly lock: boolean;
  /** Temporary files of writes that were killed. */
  readonly temporaryFiles: boolean;
  /** Notes of a daemon of this boot. */
  readonly notes: boolean;
}

/** What a start finds, before it changes anything. */
export interface Findings {
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly reading: Extract<StateFileReading, { kind: 'state' }> | { readonly kind: 'absent'; readonly traces: Traces };
  /** What was durable in this boot, by the notes of the daemons before. */
  readonly noted: readonly NotedState[];
  /** Of the boot that this is. */
  readonly bootId: string;
  /** The fingerprint of this machine; undefined if it cannot be told from others. */
  readonly machine: string | undefined;
  readonly wallMs: number;
  /** The daemon that starts. Its instance is used only for a state that is made now. */
  readonly self: Pick<StateIdentity, 'instance' | 'pid' | 'socket'>;
  readonly policies: Policies;
  /** Returns a command `nonced state …` for this state, as an operator must type it. */
  readonly stateCommand: (command: string) => string;
}

/** What a daemon starts with. */
export interface Opening {
  readonly state: DurableState;
  readonly identity: StateIdentity;
  /** There was no state. This one must be durable before anything else is made. */
  readonly isFirst: boolean;
  /** What an operator must not miss. */
  readonly warnings: readonly string[];
}

/** Returns the state to start with, or the refusal to start. A state is refused rather than guessed (I9). */
export function openingOf(found: Findings): Opening | { readonly refusal: ExitError } {
  const { reading, stateDir, machine, wallMs, self, policies, stateCommand } = found;
  const before = reading.kind === 'state' ? reading.state : undefined;
  const refusal =
    reading.kind === 'state'
      ? (refuseForeign(found, reading.state) ?? refuseRolledBack(found, reading.state))
      : refuseFirst(found, reading);
  if (refusal !== undefined) return { refusal };
  const starting = startingState(before?.state ?? freshState('ns', wallMs), policies);
  if ('problem' in starting) {
    return {
      refusal: new ExitError(
        EXIT.config,
        before === undefined
          ? `there is no state in ${stateDir} yet, and the configuration needs one that you make first, with the unit of ` +
              `the sequence default: ${stateCommand('init --floor now --unit UNIT')}. Then start again; if ` +
              'another sequence is missing, the message has the command that makes it'
          : `the configuration does not fit the state: ${summariseProblem(starting, stateCommand)}`,
      ),
    };
  }
  const identity: StateIdentity = {
    ...self,
    instance: before?.instance ?? self.instance,
    epoch: (before?.epoch ?? 0) + 1,
    machine: machine ?? before?.machine,
    leasesInBoot: found.bootId,
  };
  const isFirst = before === undefined;
  const warnings = isFirst ? [...starting.kept, firstStart(stateDir)] : starting.kept;
  return { state: starting.state, identity, isFirst, warnings };
}

/** Returns the state that a first start, or `nonced state init`, begins with. */
export function freshState(unit: Unit, wallMs: number): DurableState {
  const begin = (of: Unit, max: bigint): DurableSequence => ({ unit: of, ceiling: nonceFloorAt(wallMs, of), max });
  return {
    sequences: { [DEFAULT_SEQUENCE]: begin(unit, MAX_NONCE), [TOKEN_SEQUENCE]: begin('us', MAX_TOKEN) },
    accounts: new Map(),
    exclusive: 'global',
    anchor: undefined,
    seenWallMs: wallMs,
  };
}

/** Returns the refusal of a clock that is far past the last time the state has seen. */
export function implausibleClock({ wallMs, stateCommand }: Pick<Findings, 'wallMs' | 'stateCommand'>): ExitError {
  return new ExitError(
    EXIT.tempFail,
    `the clock says ${new Date(wallMs).toISOString()}, over 27 days past the last time that this state has seen; set ` +
      `it (timedatectl), or, if it is right: ${stateCommand('init --floor now')}`,
  );
}

function firstStart(stateDir: string): string {
  return (
    `first start: made a new state in ${stateDir}, in nanoseconds (19 digits). If your keys have had nonces with fewer ` +
    'digits, stop now and read "a one-way door" in the README'
  );
}

/** I9: a state that was lost is never made again. */
function refuseFirst(
  { stateDir, runtimeDir, wallMs, stateCommand }: Findings,
  { traces }: { readonly traces: Traces },
): ExitError | undefined {
  const evidence = evidenceIn(traces, runtimeDir);
  if (evidence !== undefined) {
    return new ExitError(
      EXIT.config,
      `${stateDir} has no state.json, but ${evidence}: it was lost. Bring it back. Or, if no nonce was ever ahead of the ` +
        'clock, make a new one in the unit it had (by the digits of the last nonce that was sent: 19 ns, 16 us, 13 ms, ' +
        `10 s): ${stateCommand('init --floor now --unit UNIT')}`,
    );
  }
  return wallMs < RELEASED_MS ? clockBeforeRelease(wallMs) : undefined;
}

function clockBeforeRelease(wallMs: number): ExitError {
  const fact = `the clock says ${new Date(wallMs).toISOString()}, before this program was made`;
  return new ExitError(EXIT.tempFail, `${fact}; set it (timedatectl), then start again`);
}

function evidenceIn(traces: Traces, runtimeDir: string): string | undefined {
  if (traces.isService) return 'the service was installed with one';
  if (traces.lock) return 'the lock of an earlier daemon is there';
  if (traces.temporaryFiles) return 'an unfinished write of an earlier daemon is there';
  return traces.notes ? `an earlier daemon of this boot left notes in ${runtimeDir}` : undefined;
}

/** I2, I9: a state that was put back has handed out nonces that it does not know of. */
function refuseRolledBack(
  { stateDir, noted, stateCommand }: Findings,
  state: StateFileContents,
): ExitError | undefined {
  for (const { runtimeDir, contents } of noted) {
    const what = rolledBack(state, contents);
    if (what === undefined) continue;
    const floor = contents.state.sequences[DEFAULT_SEQUENCE]?.ceiling;
    return new ExitError(
      EXIT.config,
      `the state in ${stateDir} is older than the one that was in use in this boot: it ${what}. Bring back the newest ` +
        `copy; or, if there is none, raise this one to what was noted: ${stateCommand(`init --floor ${floor ?? 'now'}`)} --runtime-dir ${runtimeDir}`,
    );
  }
  return undefined;
}

/** Two hosts with one state would hand out the same nonces. */
function refuseForeign({ stateDir, machine, stateCommand }: Findings, found: StateFileContents): ExitError | undefined {
  const isForeign = !(machine === undefined || found.machine === undefined || found.machine === machine);
  // One that was retired on this very machine may have been taken over by another since; only an operator can know.
  const adopt = stateCommand(isForeign ? 'adopt' : 'adopt --force');
  if (found.retiredAtMs !== undefined) {
    return new ExitError(
      EXIT.config,
      `the state in ${stateDir} was retired on ${new Date(found.retiredAtMs).toISOString()}, for another host to take ` +
        `over; use that host, or take it over here${isForeign ? '' : ' if no host has'}: ${adopt}`,
    );
  }
  if (!isForeign) return undefined;
  return new ExitError(
    EXIT.config,
    `the state in ${stateDir} belongs to another machine, which may still hand out its nonces. Run there: ` +
      `nonced state retire. Then copy the state again, and run here: ${adopt}`,
  );
}
