import type { Cell, Results } from '../../bench/results.ts';

export const SETTINGS: Results['settings'] = {
  rounds: 1,
  coldCalls: 10,
  warmUpCalls: 200,
  hotCalls: 1_000,
  atMostMs: 500,
  short: false,
};

/** A cell in which everything but what a test is about is plain. */
export function cell(of: Pick<Cell, 'case' | 'peer'> & Partial<Cell>): Cell {
  return {
    heat: 'hot',
    round: 1,
    connections: 1,
    operations: 100,
    perSecond: 100,
    meanUs: 10,
    medianUs: 10,
    p99Us: 20,
    ...of,
  };
}

/** Results of a run that measured nothing but these. */
export function results(of: Partial<Results> = {}): Results {
  const names = [...new Set(of.cells?.map(({ peer }) => peer))];
  return {
    format: 2,
    startedAt: '2026-01-02T03:04:05.678Z',
    machine: {
      processor: 'a processor',
      cores: 2,
      memoryGiB: 4,
      kernel: 'Linux 6.1',
      filesystem: 'ext4',
      node: 'v20.20.2',
      loadAverage: 0.25,
    },
    settings: SETTINGS,
    peers: names.map((name) => ({ name, title: `the ${name}`, isDurable: name === 'nonced' })),
    skipped: [],
    cells: [],
    memory: [],
    idle: [],
    start: [],
    ...of,
  };
}
