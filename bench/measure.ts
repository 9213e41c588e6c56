import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Crew } from './crew.ts';
import { type Figures, figuresOf, handOffs } from './figures.ts';
import type { Peer } from './peer.ts';
import type { Case } from './works/work.ts';

export interface Times {
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** Puts one load on one peer, started for it alone with fresh state in a directory below `dir`. */
export async function measure(
  peer: Peer,
  { load: shape, measures }: Case,
  times: Times,
  dir: string,
): Promise<Figures> {
  const load = { ...shape, ...times };
  const place = join(dir, peer.name);
  mkdirSync(place, { mode: 0o711 });
  const server = await peer.start(place);
  try {
    const crew = await Crew.open(peer.name, server.endpoint, load);
    const samples = await crew.work();
    crew.dismiss();
    const times =
      measures === 'hand-off' ? handOffs(samples) : samples.flatMap(({ latenciesNs }) => Array.from(latenciesNs));
    return figuresOf(times, load.measureMs);
  } finally {
    await server.stop();
    rmSync(place, { recursive: true, force: true });
  }
}
