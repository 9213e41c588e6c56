import { DEFAULT_SEQUENCE } from '../src/core/nonces/assignments.ts';
import { TOKEN_SEQUENCE } from '../src/core/nonces/ledger.ts';
import { nonceFloorAt } from '../src/core/nonces/sequence-clock.ts';
import { planMove } from '../src/core/operator/move-plan.ts';
import { freshState } from '../src/daemon/opening.ts';
import { parseState, type StateFileContents, serialiseState } from '../src/store/state/state-format.ts';
import type { ExclusionPolicy } from '../src/terms.ts';

/** A change of a state. */
type Change = (contents: StateFileContents) => StateFileContents;

/** Returns the bytes of the changed state; undefined if they are not a state. */
function changed(bytes: Buffer, change: Change): Buffer | undefined {
  const parsed = parseState(bytes);
  return parsed.kind === 'state' ? serialiseState(change(parsed.state)) : undefined;
}

export function isWhole(bytes: Buffer | undefined): bytes is Buffer {
  return bytes !== undefined && parseState(bytes).kind === 'state';
}

/** Changes a digit: the damage that is most likely to pass for a state. */
export function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  let index = at % copy.length;
  while (!isDigit(copy.readUInt8(index))) index = (index + 1) % copy.length;
  copy.writeUInt8(0x30 + ((copy.readUInt8(index) - 0x30 + 1 + (at % 8)) % 10), index);
  return copy;
}

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;

/** Makes it the state of another machine that has run for less long. */
export function foreign(bytes: Buffer, machine: string): Buffer | undefined {
  return changed(bytes, ({ state, ...others }) => {
    const sequences = Object.entries(state.sequences).map(([name, sequence]) => {
      const ceiling = sequence.ceiling - sequence.ceiling / 1_000_000n;
      return [name, { ...sequence, ceiling }] as const;
    });
    return {
      ...others,
      instance: machine,
      machine,
      state: { ...state, sequences: Object.fromEntries(sequences) },
    };
  });
}

/** Does what `nonced state retire` does. */
export function retired(bytes: Buffer, wallMs: number): Buffer | undefined {
  return changed(bytes, (contents) => ({ ...contents, retiredAtMs: wallMs }));
}

/** Does what `nonced state adopt --force` does. */
export function adopted(bytes: Buffer, machine: string, wallMs: number): Buffer | undefined {
  return raised(bytes, 0n, wallMs, (contents) => ({ ...contents, machine, retiredAtMs: undefined }));
}

/** Does what `nonced state move` does; undefined if it would be refused. Also returns the lowest nonce that comes next. */
export function moved(
  bytes: Buffer,
  account: string,
  to: string,
  wallMs: number,
): { readonly bytes: Buffer; readonly next: bigint } | undefined {
  const parsed = parseState(bytes);
  if (parsed.kind !== 'state') return undefined;
  const plan = planMove(parsed.state.state, account, to, (unit) => nonceFloorAt(wallMs, unit));
  if ('problem' in plan) return undefined;
  return { bytes: serialiseState({ ...parsed.state, state: plan.state }), next: plan.next };
}

/**
 * Does to a backup what `nonced state init --floor` does: every sequence of nonces goes on at the floor or at the
 * clock.
 */
export function raised(
  bytes: Buffer,
  floor: bigint,
  wallMs: number,
  change: Change = (contents) => contents,
): Buffer | undefined {
  return changed(bytes, (contents) => {
    const { state } = contents;
    const sequences = Object.entries(state.sequences).map(([name, sequence]) => {
      const highest = [sequence.ceiling, nonceFloorAt(wallMs, sequence.unit), name === TOKEN_SEQUENCE ? 0n : floor];
      return [name, { ...sequence, ceiling: highest.reduce((a, b) => (a > b ? a : b)) }] as const;
    });
    const anew = { sequences: Object.fromEntries(sequences), anchor: undefined, seenWallMs: wallMs };
    return change({ ...contents, state: { ...state, ...anew } });
  });
}

/** Does what `nonced state init` does if there is no state. */
export function madeByHand(
  identity: { readonly instance: string; readonly machine: string },
  wallMs: number,
  { floor = 0n, exclusive = 'global' }: { readonly floor?: bigint; readonly exclusive?: ExclusionPolicy },
): Buffer {
  const state = freshState('ns', wallMs);
  const { [DEFAULT_SEQUENCE]: first } = state.sequences;
  if (first === undefined) throw new Error('a fresh state has no sequence');
  const ceiling = floor > first.ceiling ? floor : first.ceiling;
  const sequences = { ...state.sequences, [DEFAULT_SEQUENCE]: { ...first, ceiling } };
  return serialiseState({
    ...identity,
    epoch: 1,
    pid: 1,
    socket: '/run/nonced/nonced.sock',
    state: { ...state, sequences, exclusive },
    extra: {},
    sequenceExtra: {},
  });
}
