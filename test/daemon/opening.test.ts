import { describe, expect, test } from 'vitest';
import { DEFAULT_EXCHANGE, MAX_NONCE, NO_POLICIES, type Policies } from '../../src/core/accounts/policies.ts';
import { DEFAULT_SEQUENCE } from '../../src/core/nonces/assignments.ts';
import { nonceFloorAt } from '../../src/core/nonces/sequence-clock.ts';
import type { DurableSequence } from '../../src/core/ports.ts';
import { type Findings, freshState, openingOf, type Traces } from '../../src/daemon/opening.ts';
import { EXIT, type ExitError } from '../../src/errors.ts';
import type { NotedState } from '../../src/store/notes/state-note.ts';
import type { StateFileContents } from '../../src/store/state/state-format.ts';
import type { Unit } from '../../src/terms.ts';
import { RELEASED_MS } from '../../src/version.ts';

const NOW_MS = RELEASED_MS + 1_000;
const HERE = 'a'.repeat(32);
const ELSEWHERE = 'b'.repeat(32);
const BOOT = 'this-boot';
const OLD = '1'.repeat(32);
const NEW = '2'.repeat(32);
const NOTHING: Traces = { isService: false, lock: false, temporaryFiles: false, notes: false };

function found(reading: Findings['reading'], others: Partial<Findings> = {}): Findings {
  return {
    stateDir: '/state',
    runtimeDir: '/run/n',
    reading,
    noted: [],
    bootId: BOOT,
    machine: HERE,
    wallMs: NOW_MS,
    self: { instance: NEW, pid: 7, socket: '/run/n/nonced.sock' },
    policies: NO_POLICIES,
    stateCommand: (command) => `nonced state ${command} --state-dir /state`,
    ...others,
  };
}

const absent = (traces: Partial<Traces> = {}, others?: Partial<Findings>): Findings =>
  found({ kind: 'absent', traces: { ...NOTHING, ...traces } }, others);

const present = (contents: Partial<StateFileContents> = {}, others?: Partial<Findings>): Findings => {
  const state = freshState('ns', NOW_MS - 500);
  const identity = { instance: OLD, epoch: 6, pid: 1, socket: '/old', machine: HERE };
  const all = { ...identity, state, extra: {}, sequenceExtra: {}, ...contents };
  return found({ kind: 'state', state: all, bytes: Buffer.alloc(0) }, others);
};

const further = (unit: Unit): Policies => ({
  sequences: new Map([['second', { unit, max: MAX_NONCE }]]),
  of: () => ({ exchange: DEFAULT_EXCHANGE, sequence: DEFAULT_SEQUENCE, pacing: undefined }),
});

function refusalOf(findings: Findings): ExitError {
  const opening = openingOf(findings);
  if ('refusal' in opening) return opening.refusal;
  throw new Error('it opens');
}

function openingFor(findings: Findings) {
  const opening = openingOf(findings);
  if ('refusal' in opening) throw opening.refusal;
  return opening;
}

describe('without a state', () => {
  test('an empty place is a first start: a new state at the clock, its own instance, and a loud word', () => {
    const { state, identity, isFirst, warnings } = openingFor(absent());
    expect(state).toEqual(freshState('ns', NOW_MS));
    expect(identity).toEqual({
      instance: NEW,
      epoch: 1,
      pid: 7,
      socket: '/run/n/nonced.sock',
      machine: HERE,
      leasesInBoot: BOOT,
    });
    expect(isFirst).toBe(true);
    expect(warnings).toEqual([expect.stringContaining('first start: made a new state in /state')]);
  });

  test.each([
    ['isService', 'the service was installed with one'],
    ['lock', 'the lock of an earlier daemon'],
    ['temporaryFiles', 'an unfinished write of an earlier daemon'],
    ['notes', 'left notes in /run/n'],
  ] as const)('I9: it was lost if there is %s, and is never made again', (trace, evidence) => {
    const refusal = refusalOf(absent({ [trace]: true }));
    expect(refusal.exitCode).toBe(EXIT.config);
    expect(refusal.message).toContain(evidence);
    expect(refusal.message).toContain('nonced state init --floor now --unit UNIT --state-dir /state');
  });

  test('a clock from before this program was made is not one to begin at, and may pass', () => {
    expect(refusalOf(absent({}, { wallMs: RELEASED_MS - 1 })).exitCode).toBe(EXIT.tempFail);
    expect(openingFor(absent({}, { wallMs: RELEASED_MS })).isFirst).toBe(true);
  });

  test('a lost state is a loss at any clock', () => {
    expect(refusalOf(absent({ lock: true }, { wallMs: 0 })).exitCode).toBe(EXIT.config);
  });

  test('a configuration that needs more than a first start may guess is refused', () => {
    const refusal = refusalOf(absent({}, { policies: further('ms') }));
    expect(refusal.exitCode).toBe(EXIT.config);
    expect(refusal.message).toContain('there is no state in /state yet');
    expect(openingFor(absent({}, { policies: further('ns') })).state.sequences).toHaveProperty('second');
  });
});

describe('with a state', () => {
  test('it goes on: the same instance, the next epoch, and nothing to be said', () => {
    const findings = present();
    const { state, identity, isFirst, warnings } = openingFor(findings);
    expect(state).toEqual(freshState('ns', NOW_MS - 500));
    expect(identity).toEqual({
      instance: OLD,
      epoch: 7,
      pid: 7,
      socket: '/run/n/nonced.sock',
      machine: HERE,
      leasesInBoot: BOOT,
    });
    expect(isFirst).toBe(false);
    expect(warnings).toEqual([]);
  });

  const noted = (contents: Partial<StateFileContents> = {}, sequences = {}, accounts = new Map()): NotedState => {
    const { state, ...identity } = (present(contents).reading as { state: StateFileContents }).state;
    const all = { ...identity, state: { ...state, sequences: { ...state.sequences, ...sequences }, accounts } };
    return { stateDir: '/state', runtimeDir: '/run/n', contents: all };
  };
  const { default: before } = freshState('ns', NOW_MS - 500).sequences;
  const higher = { ...(before as DurableSequence), ceiling: (before as DurableSequence).ceiling + 1n };

  test.each([
    ['a later start', noted({ epoch: 7 }), 'it is of start 6, and there have been 7'],
    ['a higher ceiling', noted({}, { default: higher }), `and it had reached ${higher.ceiling}`],
    ['one more sequence', noted({}, { second: higher }), 'it lacks sequence second'],
    ['another unit', noted({}, { default: { ...higher, unit: 'ms' } }), 'in ns, and it was in ms'],
    [
      'an account',
      noted({}, {}, new Map([['BOT', { sequence: 'default', paused: false }]])),
      'it does not know account BOT, which has drawn from sequence default',
    ],
  ])('I2, I9: one that is below what was noted in this boot (%s) was put back, and is refused', (_what, note, fact) => {
    const refusal = refusalOf(present({}, { noted: [note] }));
    expect(refusal.exitCode).toBe(EXIT.config);
    expect(refusal.message).toContain('the state in /state is older than the one that was in use in this boot');
    expect(refusal.message).toContain(fact);
    const { ceiling } = note.contents.state.sequences['default'] as DurableSequence;
    expect(refusal.message).toContain(`nonced state init --floor ${ceiling} --state-dir /state --runtime-dir /run/n`);
  });

  test('one of a later epoch than the note has forgotten an account, and may start; never below a ceiling', () => {
    const accounts = new Map([['order-1', { sequence: 'default', paused: false }]]);
    expect(openingFor(present({ epoch: 7 }, { noted: [noted({ epoch: 6 }, {}, accounts)] })).identity.epoch).toBe(8);
    const lower = noted({ epoch: 6 }, { default: higher }, accounts);
    expect(refusalOf(present({ epoch: 7 }, { noted: [lower] })).message).toContain('it had reached');
  });

  test.each([
    ['as it was noted', noted()],
    ['newer than the note: the daemon died before it could note it', noted({ epoch: 5 })],
    ['of another instance', noted({ instance: NEW, epoch: 70 }, { default: higher })],
  ])('one that is %s goes on', (_what, note) => {
    expect(openingFor(present({}, { noted: [note] })).identity.epoch).toBe(7);
  });

  test('the clock of before the release does not keep it from going on', () => {
    expect(openingFor(present({}, { wallMs: 0 })).identity.epoch).toBe(7);
  });

  test('one of another machine is refused', () => {
    const refusal = refusalOf(present({ machine: ELSEWHERE }));
    expect(refusal.exitCode).toBe(EXIT.config);
    expect(refusal.message).toContain('belongs to another machine');
  });

  test('where machines cannot be told apart, neither is it foreign nor forgets it whose it was', () => {
    expect(openingFor(present({ machine: undefined })).identity.machine).toBe(HERE);
    expect(openingFor(present({ machine: ELSEWHERE }, { machine: undefined })).identity.machine).toBe(ELSEWHERE);
  });

  test('one that was retired is refused, on whichever machine', () => {
    for (const machine of [HERE, ELSEWHERE, undefined]) {
      const refusal = refusalOf(present({ machine, retiredAtMs: NOW_MS }));
      expect(refusal.exitCode).toBe(EXIT.config);
      expect(refusal.message).toContain('was retired on 2026-11-01');
      // On the machine that gave it up it takes an operator who knows that no other has taken it over.
      expect(refusal.message.includes('adopt --force')).toBe(machine !== ELSEWHERE);
    }
  });

  test('a configuration that does not fit it is refused with what would make it fit', () => {
    const refusal = refusalOf(present({}, { policies: further('ms') }));
    expect(refusal.exitCode).toBe(EXIT.config);
    expect(refusal.message).toContain('nonced state init --sequence second --unit ms --floor now --state-dir /state');
  });

  test('an account that an operator has placed stays, and an operator is told; any other is refused', () => {
    const { sequences, ...others } = freshState('ns', NOW_MS);
    const far = { unit: 'ns', ceiling: nonceFloorAt(NOW_MS + 3_600_000, 'ns'), max: MAX_NONCE } as const;
    const stateOf = (placed: 'kept' | undefined) => {
      const accounts = new Map([['A', { sequence: 'far', paused: false, placed }]]);
      return present({ state: { ...others, sequences: { ...sequences, far }, accounts } });
    };
    const refusal = refusalOf(stateOf(undefined));
    expect(refusal.exitCode).toBe(EXIT.config);
    expect(refusal.message).toContain('nonced state move A --to default --state-dir /state');
    const { warnings } = openingFor(stateOf('kept'));
    expect(warnings).toEqual([expect.stringContaining('account A stays on sequence far')]);
  });
});
