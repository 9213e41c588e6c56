// first form
import { parseArgs } from 'node:util';
import { measure } from './measure.ts';
import { PEERS } from './peers/index.ts';
import { temporaryDirectory } from './processes.ts';
import { WORKS } from './works/index.ts';
import { measureStarts } from './works/start.ts';

const { values } = parseArgs({
  options: {
    work: { type: 'string', multiple: true },
    peer: { type: 'string', multiple: true },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '1.5' },
  },
});
process.on('SIGINT', () => process.exit(130));
const dir = temporaryDirectory('/var/tmp');
const peers = PEERS.filter(({ name }) => values.peer?.includes(name) ?? true);
for (let round = 1; round <= Number(values.rounds); round++) {
  if (values.work?.includes('start') ?? true) {
    for (const { bareMs, noncedMs } of await measureStarts(10, dir)) {
      console.log(`${round} start  nonced ${noncedMs.toFixed(1)} ms  node -e 0 ${bareMs.toFixed(1)} ms`);
    }
  }
  for (const work of WORKS.filter(({ name }) => values.work?.includes(name) ?? true)) {
    for (const each of work.cases) {
      for (const peer of peers.filter((candidate) => candidate.missing() === undefined && each.takes(candidate))) {
        const f = await measure(peer, each, { warmUpMs: 500, measureMs: Number(values.seconds) * 1e3 }, dir);
        console.log(
          `${round} ${each.name.padEnd(14)} ${peer.name.padEnd(16)} ${f.perSecond.toFixed(0).padStart(8)}/s  mean ${f.meanUs.toFixed(1)}  p50 ${f.medianUs.toFixed(1)}  p99 ${f.p99Us.toFixed(1)} us`,
        );
      }
    }
  }
}
