import { LEASE_ENDS } from '../../terms.ts';
import type { Call, Incident } from './incident.ts';
import { type CallKind, FIRST_BAD_KIND, GLYPHS, KINDS, type PageData, REACH_ALL, REACH_NONE } from './page-data.ts';
import { isToLookAt, type Picture, type Reach } from './rows.ts';

/** Returns what the page's script needs to know about an incident. */
export function pageDataOf({ fromMs, toMs }: Incident, { rows, marks, spans }: Picture): PageData {
  const texts = new Texts();
  const calls = {
    row: [] as number[],
    track: [] as number[],
    end: [] as number[],
    waited: [] as number[],
    held: [] as number[],
    kind: [] as number[],
    ending: [] as number[],
    account: [] as number[],
    holder: [] as number[],
    label: [] as number[],
    priority: [] as number[],
    pid: [] as number[],
    nonce: [] as (string | -1)[],
    lastNonce: [] as (string | -1)[],
    late: [] as number[],
    toLookAt: [] as number[],
  };
  rows.forEach(({ bars }, row) => {
    for (const { call, track } of bars) {
      calls.row.push(row);
      calls.track.push(track);
      calls.end.push(Math.round(call.endMs - fromMs));
      calls.waited.push(call.waitedMs);
      calls.held.push(call.heldMs);
      calls.kind.push(KINDS.indexOf(kindOf(call)));
      calls.ending.push(call.state.kind === 'ended' ? LEASE_ENDS.indexOf(call.state.ended) : -1);
      calls.account.push(texts.of(call.account));
      calls.holder.push(texts.of(call.holder));
      calls.label.push(texts.of(call.label));
      calls.priority.push(texts.of(call.priority));
      calls.pid.push(call.pid ?? -1);
      calls.nonce.push(call.nonce ?? -1);
      calls.lastNonce.push(call.lastNonce === call.nonce ? -1 : (call.lastNonce ?? -1));
      calls.late.push(call.late ? 1 : 0);
      calls.toLookAt.push(isToLookAt(call) ? 1 : 0);
    }
  });
  return {
    fromMs,
    toMs,
    kinds: KINDS,
    glyphs: KINDS.map((kind) => GLYPHS[kind]),
    firstBadKind: FIRST_BAD_KIND,
    endings: LEASE_ENDS,
    texts: texts.all,
    rows: rows.map(({ name, tracks, bars }) => ({ name, tracks, note: noteOf(bars.map(({ call }) => call)) })),
    calls,
    marks: marks.map((mark) => ({ ...mark, reach: reachNumber(mark.reach) })),
    spans: spans.map((span) => ({ ...span, reach: reachNumber(span.reach) })),
  };
}

/** Returns the index of each call in the columns. */
export function indicesOf({ rows }: Picture): ReadonlyMap<Call, number> {
  return new Map(rows.flatMap(({ bars }) => bars).map(({ call }, index) => [call, index]));
}

export function kindOf({ state }: Call): CallKind {
  return state.kind === 'ended' ? state.outcome : state.kind;
}

/** Returns the note below the name of a row. */
function noteOf(calls: readonly Call[]): string {
  const rejected = calls.filter((call) => kindOf(call) === 'invalid-nonce').length;
  const all = `${calls.length.toLocaleString('en')} ${calls.length === 1 ? 'call' : 'calls'}`;
  return rejected === 0 ? all : `${all}, ${rejected.toLocaleString('en')} rejected`;
}

function reachNumber(reach: Reach): number {
  if (reach === 'all') return REACH_ALL;
  return reach === 'none' ? REACH_NONE : reach;
}

/** Keeps each text once. */
class Texts {
  readonly all: string[] = [];
  readonly #indices = new Map<string, number>();

  of(text: string | null): number {
    if (text === null) return -1;
    const known = this.#indices.get(text);
    if (known !== undefined) return known;
    this.#indices.set(text, this.all.length);
    return this.all.push(text) - 1;
  }
}
