import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Crew } from './crew.ts';
import { type Figures, figuresOf, handOffs } from './figures.ts';
import type { Load, Sample } from './load.ts';
import type { Peer } from './peer.ts';
import { remove } from './processes.ts';
import type { Case } from './works/work.ts';

/** How often the time is made longer for a peer that got nothing done in it, and by how much. */
const EXTENSIONS = 2;
const LONGER = 10;

/** Puts the load on the peer, started for it alone with fresh state in a directory below `dir`. */
export async function measure(peer: Peer, { name, times }: Case, load: Load, dir: string): Promise<Figures> {
  for (let extension = 0; extension <= EXTENSIONS; extension++) {
    const measureMs = load.measureMs * LONGER ** extension;
    const samples = await sample(peer, { ...load, measureMs }, dir);
    const isHandOff = times === 'hand-off' && load.what === 'exclusive';
    const timesNs = isHandOff ? handOffs(samples) : samples.flatMap(({ latenciesNs }) => Array.from(latenciesNs));
    // Whoever waits for a lane that is held does so as long as its holders please.
    const waitingNs = isHandOff ? [] : samples.flatMap((each) => Array.from(each.waitingNs));
    if (timesNs.length > 0) return figuresOf(timesNs, waitingNs, measureMs);
  }
  throw new Error(`${peer.name} got nothing of ${name} done; give it more time with --seconds`);
}

async function sample(peer: Peer, load: Load, dir: string): Promise<readonly Sample[]> {
  const place = join(dir, peer.name);
  mkdirSync(place, { mode: 0o711 });
  const server = await peer.start(place);
  try {
    const crew = await Crew.open(peer, server.endpoint, load);
    const samples = await crew.work();
    await crew.dismiss();
    return samples;
  } finally {
    await server.stop();
    remove(place);
  }
}
