import { unaccountable } from './account.ts';
import { machine } from './machine.ts';
import { measure } from './measure.ts';
import type { Options } from './options.ts';
import type { Peer } from './peer.ts';
import { PEERS } from './peers/index.ts';
import { temporaryDirectory } from './processes.ts';
import type { Cell, Results } from './results.ts';
import { PROBES, WORKS } from './works/index.ts';
import { type Idle, type Memory, measureIdle, measureMemory } from './works/resident.ts';
import { measureStarts, type Start } from './works/start.ts';
import type { Amount, Case, Shape } from './works/work.ts';

/** How much of everything. */
interface Scale {
  readonly load: Omit<Amount, 'hotCalls'>;
  readonly memory: { readonly connections: number; readonly waiting: number };
  readonly idle: { readonly connections: number; readonly seconds: number };
  readonly starts: number;
}

const FULL: Scale = {
  // After some 20,000 calls Node has compiled what it will. A peer that takes longer than this for them waits for a
  // disk, and not for its code.
  load: { coldCalls: 1_000, warmUpCalls: 20_000, atMostMs: 6_000 },
  memory: { connections: 1_000, waiting: 9_000 },
  idle: { connections: 100, seconds: 5 },
  starts: 10,
};

const SHORT: Scale = {
  load: { coldCalls: 20, warmUpCalls: 60, atMostMs: 100 },
  memory: { connections: 20, waiting: 100 },
  idle: { connections: 4, seconds: 0.2 },
  starts: 1,
};

/** The comparison: each round runs every peer with every load, so that what disturbs the machine disturbs all. */
export async function compare(options: Options, progress: (text: string) => void): Promise<Results> {
  const { rounds, calls, isShort, parent } = options;
  const dir = temporaryDirectory(parent);
  const scale = isShort ? SHORT : FULL;
  const skipped: { what: string; why: string }[] = [];
  const isHere = (what: string, why: string | undefined) => {
    if (why !== undefined) skipped.push({ what, why });
    return why === undefined;
  };
  const peers = PEERS.filter(({ name }) => options.peers.includes(name));
  const works = WORKS.filter(({ name }) => options.works.includes(name));
  const turns = turnsOf(
    works.flatMap((work) => (isShort ? work.short : work.cases)),
    peers.filter((peer) => isHere(peer.name, peer.missing())),
  );
  const probes = PROBES.filter((name) => options.works.includes(name) && options.peers.includes('nonced')).filter(
    (name) => name === 'start' || isHere(name, unaccountable),
  );
  const results = {
    format: 2 as const,
    startedAt: new Date().toISOString(),
    machine: machine(dir),
    settings: { rounds, ...scale.load, hotCalls: calls, short: isShort },
    peers: peers
      .filter((peer) => turns.some((turn) => turn.peer === peer))
      .map(({ name, title, isDurable }) => ({ name, title, isDurable })),
    skipped,
    cells: [] as Cell[],
    memory: [] as Memory[],
    idle: [] as Idle[],
    start: [] as Start[],
  };
  for (let round = 1; round <= rounds; round++) {
    for (const [index, { each, peer, shape }] of turns.entries()) {
      progress(`round ${round} of ${rounds}, ${index + 1} of ${turns.length}: ${each.name}, ${peer.name}`);
      const measured = await measure(peer, each, { ...shape, ...scale.load, hotCalls: calls }, dir);
      for (const heat of ['cold', 'hot'] as const) {
        const { connections } = shape;
        results.cells.push({ case: each.name, peer: peer.name, heat, round, connections, ...measured[heat] });
      }
    }
    for (const probe of probes) {
      progress(`round ${round} of ${rounds}: ${probe}`);
      if (probe === 'memory') results.memory.push(await measureMemory(scale.memory, dir));
      if (probe === 'idle') results.idle.push(await measureIdle(scale.idle, dir));
      if (probe === 'start') results.start.push(await measureStarts(scale.starts, dir));
    }
  }
  return results;
}

interface Turn {
  readonly each: Case;
  readonly peer: Peer;
  readonly shape: Shape;
}

/** Peer by peer for each load, so that what is compared is near in time. */
function turnsOf(cases: readonly Case[], peers: readonly Peer[]): readonly Turn[] {
  return cases.flatMap((each) =>
    peers.flatMap((peer) => {
      const shape = each.load(peer);
      return shape === undefined ? [] : [{ each, peer, shape }];
    }),
  );
}
