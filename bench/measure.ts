import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Crew } from './crew.ts';
import { type Figures, figuresOf, handOffs } from './figures.ts';
import type { Heat, Load } from './load.ts';
import type { Peer } from './peer.ts';
import { remove } from './processes.ts';
import type { Case } from './works/work.ts';

/** How often the time is made longer for a peer that got nothing done in it, and by how much. */
const EXTENSIONS = 2;
const LONGER = 10;

export type Measured = Readonly<Record<Heat, Figures>>;

/** Puts the load on the peer, started for it alone with fresh state in a directory below `dir`. */
export async function measure(peer: Peer, each: Case, load: Load, dir: string): Promise<Measured> {
  for (let extension = 0; extension <= EXTENSIONS; extension++) {
    const measured = await attempt(peer, each, { ...load, atMostMs: load.atMostMs * LONGER ** extension }, dir);
    if (measured !== undefined) return measured;
  }
  throw new Error(`${peer.name} got nothing of ${each.name} done`);
}

/** Undefined if no call ended in time. */
async function attempt(peer: Peer, each: Case, load: Load, dir: string): Promise<Measured | undefined> {
  const place = join(dir, peer.name);
  mkdirSync(place, { mode: 0o711 });
  const server = await peer.start(place);
  try {
    const crew = await Crew.open(peer, server.endpoint, load);
    const cold = await stretch(crew, each, load, load.coldCalls);
    await crew.count(load.warmUpCalls - load.coldCalls, load.atMostMs);
    const hot = await stretch(crew, each, load, load.hotCalls);
    await crew.dismiss();
    return cold && hot && { cold, hot };
  } finally {
    await server.stop();
    remove(place);
  }
}

async function stretch(
  crew: Crew,
  { times }: Case,
  { what, atMostMs }: Load,
  calls: number,
): Promise<Figures | undefined> {
  const { fromNs, firstNs: untilNs } = await crew.count(calls, atMostMs);
  const samples = await crew.sample({ fromNs, untilNs });
  const isHandOff = times === 'hand-off' && what === 'exclusive';
  const timesNs = isHandOff ? handOffs(samples) : samples.flatMap(({ latenciesNs }) => Array.from(latenciesNs));
  // A caller that waits for a lane waits for as long as its holders keep it.
  const waitingNs = isHandOff ? [] : samples.flatMap((sample) => Array.from(sample.waitingNs));
  return timesNs.length === 0 ? undefined : figuresOf(timesNs, waitingNs, (untilNs - fromNs) / 1e6);
}
