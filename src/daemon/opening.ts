import { MAX_NONCE, type Policies } from '../core/accounts/policies.ts';
import { DEFAULT_SEQUENCE } from '../core/nonces/assignments.ts';
import { TOKEN_SEQUENCE } from '../core/nonces/ledger.ts';
import { nonceFloorAt } from '../core/nonces/sequence-clock.ts';
import { describeProblem, startingState } from '../core/operator/policy-plan.ts';
import type { DurableSequence, DurableState } from '../core/ports.ts';
import { EXIT, ExitError } from '../errors.ts';
import type { StateFileReading } from '../store/state/state-file.ts';
import type { StateFileContents, StateIdentity } from '../store/state/state-format.ts';
import type { Unit } from '../terms.ts';
import { RELEASED_MS } from '../version.ts';

/** Tokens are JavaScript numbers in many clients. */
const MAX_TOKEN = 2n ** 53n - 1n;

/** What tells that a state was here before. */
export interface Traces {
  /** The installation made the state. */
  readonly isService: boolean;
  /** A lock of a daemon that did not stop cleanly. */
  readonly lock: boolean;
  /** Temporary files of writes that were killed. */
  readonly temporaryFiles: boolean;
  /** Notes of a daemon of this boot. */
  readonly notes: boolean;
}

/** What a start has found, before it changes anything. */
export interface Findings {
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly reading: Extract<StateFileReading, { kind: 'state' }> | { readonly kind: 'absent'; readonly traces: Traces };
  /** Of this machine; undefined where it cannot be told from others. */
  readonly machine: string | undefined;
  readonly wallMs: number;
  /** The daemon that starts. The instance is for a state that is made now. */
  readonly self: Pick<StateIdentity, 'instance' | 'pid' | 'socket'>;
  readonly policies: Policies;
}

/** What the daemon starts with. */
export interface Opening {
  readonly state: DurableState;
  readonly identity: StateIdentity;
  /** There was no state: this one must be durable before anything else is made. */
  readonly isFirst: boolean;
  /** What an operator must not miss. */
  readonly warnings: readonly string[];
}

/** The state to start with, or why there is none to start with: it is refused rather than guessed (I9). */
export function openingOf(found: Findings): Opening | { readonly refusal: ExitError } {
  const { reading, stateDir, machine, wallMs, self, policies } = found;
  const before = reading.kind === 'state' ? reading.state : undefined;
  const refusal =
    reading.kind === 'state' ? refuseForeign(stateDir, reading.state, machine) : refuseFirst(found, reading);
  if (refusal !== undefined) return { refusal };
  const starting = startingState(before?.state ?? freshState('ns', wallMs), policies, (unit) =>
    nonceFloorAt(wallMs, unit),
  );
  if ('problem' in starting) {
    return {
      refusal: new ExitError(
        EXIT.config,
        before === undefined
          ? `there is no state in ${stateDir} yet, and the configuration needs one that is made by hand, with the unit of ` +
              `the sequence default: nonced state init --floor now --unit UNIT --state-dir ${stateDir}. Then start again: ` +
              'where a further sequence is to be made, the message says how'
          : `the configuration does not fit the state: ${describeProblem(starting, stateDir)}`,
      ),
    };
  }
  const identity: StateIdentity = {
    ...self,
    instance: before?.instance ?? self.instance,
    epoch: (before?.epoch ?? 0) + 1,
    machine: machine ?? before?.machine,
  };
  const isFirst = before === undefined;
  const warnings = isFirst ? [...starting.kept, firstStart(stateDir)] : starting.kept;
  return { state: starting.state, identity, isFirst, warnings };
}

/** What a first start, or `nonced state init`, begins with. */
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

export function wrongClock(wallMs: number, why: string): ExitError {
  return new ExitError(
    EXIT.tempFail,
    `the clock says ${new Date(wallMs).toISOString()}, but ${why}; set it (timedatectl), ` +
      'or if it is right run: nonced state init --floor now',
  );
}

function firstStart(stateDir: string): string {
  return (
    `first start: made a new state in ${stateDir}, in nanoseconds: nonces of 19 digits. If your keys have had fewer ` +
    'digits so far, stop now and read "a one-way door" in the README'
  );
}

/** I9: a state that is gone although there was one is never made anew. */
function refuseFirst(
  { stateDir, runtimeDir, wallMs }: Findings,
  { traces }: { readonly traces: Traces },
): ExitError | undefined {
  const evidence = evidenceIn(traces, runtimeDir);
  if (evidence !== undefined) {
    return new ExitError(
      EXIT.config,
      `${stateDir} has no state.json, but ${evidence}: it was lost. Bring it back; or, if no nonce was ever higher ` +
        'than the clock, make one of the same unit as before (count the digits of the last nonce that was sent: 19 ns, ' +
        `16 us, 13 ms, 10 s): nonced state init --floor now --unit UNIT --state-dir ${stateDir}`,
    );
  }
  return wallMs < RELEASED_MS ? wrongClock(wallMs, 'it is before this program was made') : undefined;
}

function evidenceIn(traces: Traces, runtimeDir: string): string | undefined {
  if (traces.isService) return 'the service was installed with one';
  if (traces.lock) return 'a lock of an earlier daemon lies there';
  if (traces.temporaryFiles) return 'an unfinished write of an earlier daemon lies there';
  return traces.notes ? `an earlier daemon of this boot left notes in ${runtimeDir}` : undefined;
}

/** Two hosts with one state would hand out the same nonces. */
function refuseForeign(stateDir: string, found: StateFileContents, machine: string | undefined): ExitError | undefined {
  if (found.retiredAtMs !== undefined) {
    return new ExitError(
      EXIT.config,
      `the state in ${stateDir} was retired on ${new Date(found.retiredAtMs).toISOString()}: its authority moved to ` +
        'another host; use that one, or run `nonced state adopt` to take it over here',
    );
  }
  if (machine === undefined || found.machine === undefined || found.machine === machine) return undefined;
  return new ExitError(
    EXIT.config,
    `the state in ${stateDir} belongs to another machine, which may still hand out its nonces; ` +
      'run `nonced state retire` there, copy the state again, and run `nonced state adopt` here',
  );
}
