import type { DiskStep, DiskTrouble } from './disk.ts';
import { Random } from './random.ts';

export type Policy = 'global' | 'account' | 'off';
export type Priority = 'urgent' | 'normal' | 'background';

export const ACCOUNTS = ['MASTER', 'USER:a', 'USER:b', 'OTHER'] as const;

/** What a bot wants for its call. */
export interface Wish {
  readonly bot: number;
  readonly account: string;
  readonly priority: Priority;
  readonly ttlMs?: number;
  readonly waitMs: number;
  readonly count: number;
  readonly cost: number;
  /** How old the decision may be when its call begins. */
  readonly maxAgeMs?: number;
  /** How long the exchange takes. */
  readonly callMs: number;
}

/** What a bot does under a lease before its end. */
export type Deed = 'call' | 'next' | 'next-other' | 'renew' | 'idle';

/** What is left beside a state that was deleted. */
export type LeftTraces = 'all' | 'lock' | 'temporary file' | 'notes' | 'nothing';

/** What takes the place of this machine's state. */
export type Replacement = 'another machine' | 'moved' | 'retired' | 'backup' | 'backup over a live one';

/** The effects at which the daemon may be killed: at the n-th one from now on. */
export type Effect = 'note' | 'wire' | DiskStep;

export type Step = { readonly atMs: number } & (
  | ({ readonly kind: 'exclusive'; readonly nested: boolean; readonly maxHoldMs?: number } & Wish)
  | ({
      readonly kind: 'hold';
      readonly deeds: readonly Deed[];
      readonly end: 'release' | 'own-clock' | 'drop' | 'forget';
    } & Wish)
  | ({ readonly kind: 'rush'; readonly times: number } & Wish)
  | ({ readonly kind: 'siege'; readonly times: number } & Wish)
  | ({ readonly kind: 'cancel'; readonly afterMs: number } & Wish)
  | { readonly kind: 'nonce'; readonly bot: number; readonly account: string; readonly count: number }
  | { readonly kind: 'status'; readonly bot: number }
  | ({ readonly kind: 'renewer'; readonly times: number; readonly everyMs: number } & Wish)
  | ({ readonly kind: 'raw-cancel'; readonly afterMs: number } & Wish)
  | ({ readonly kind: 'twice' } & Wish)
  | ({ readonly kind: 'leave'; readonly afterMs: number; readonly how: 'close' | 'half-close' } & Wish)
  | { readonly kind: 'steal'; readonly bot: number; readonly account: string }
  | { readonly kind: 'garbage'; readonly bot: number; readonly bytes: number }
  | { readonly kind: 'half'; readonly bot: number }
  | ({ readonly kind: 'json' } & Wish)
  | { readonly kind: 'crash-bot'; readonly bot: number; readonly downMs: number }
  | { readonly kind: 'stall-bot'; readonly bot: number; readonly ms: number }
  | { readonly kind: 'kill' }
  | { readonly kind: 'kill-at'; readonly effect: Effect; readonly nth: number }
  | { readonly kind: 'stop' }
  | { readonly kind: 'stall-daemon'; readonly ms: number }
  | { readonly kind: 'power-cut'; readonly downMs: number; readonly offMs: number }
  | { readonly kind: 'disk-trouble'; readonly trouble: DiskTrouble; readonly ms: number }
  | { readonly kind: 'slow-disk'; readonly stepMs: number; readonly ms: number }
  | { readonly kind: 'notes-trouble'; readonly trouble: 'short' | 'ENOSPC' }
  | { readonly kind: 'damage-notes'; readonly file: 'leases' | 'accounts'; readonly at: number }
  | { readonly kind: 'damage-state'; readonly how: 'flip' | 'cut' | 'empty'; readonly at: number }
  | { readonly kind: 'lose-state'; readonly left: LeftTraces }
  | { readonly kind: 'replace-state'; readonly by: Replacement }
  | { readonly kind: 'lose-notes' }
  | { readonly kind: 'wall-step'; readonly ms: number }
  | { readonly kind: 'suspend'; readonly ms: number }
  | { readonly kind: 'pause-machine'; readonly ms: number }
  | { readonly kind: 'break' }
  | { readonly kind: 'foreign-use'; readonly account: string }
  | { readonly kind: 'exchange-down'; readonly ms: number }
  | { readonly kind: 'cut-off-bot'; readonly bot: number; readonly ms: number }
  | { readonly kind: 'pause'; readonly account: string }
  | { readonly kind: 'resume'; readonly account: string }
  | { readonly kind: 'exclude'; readonly policy: Policy }
  | { readonly kind: 'advance'; readonly account?: string; readonly by?: number }
  | { readonly kind: 'configure'; readonly config: number }
  /** The file changes, or is lost (0), and only the next start reads it. */
  | { readonly kind: 'edit'; readonly config: number }
);

/** Everything that a seed decides before a run. The rest is decided during it, by streams of the same seed. */
export interface Scenario {
  readonly seed: number;
  readonly bots: number;
  readonly config: number;
  readonly policy: Policy;
  /** Whether the installation made the state. */
  readonly isService: boolean;
  /** How wrong the clock is at a first start. */
  readonly clockOffMs: number;
  readonly stepMs: number;
  readonly latencyMs: number;
  readonly fragmentation: number;
  readonly loss: number;
  readonly steps: readonly Step[];
}

/** The configuration of an account, as an operator may edit it. */
export interface AccountConfig {
  readonly exchange?: string;
  readonly sequence?: string;
  readonly pacing?: { readonly max: number; readonly perSecond: number };
}

export interface Config {
  /** The names of further sequences, in nanoseconds. */
  readonly sequences: readonly string[];
  readonly accounts: Readonly<Record<string, AccountConfig>>;
}

const PACED = { max: 3, perSecond: 1 };
const FASTER = { max: 2, perSecond: 4 };

export const CONFIGS: readonly [Config, ...Config[]] = [
  { sequences: [], accounts: {} },
  { sequences: [], accounts: { MASTER: { pacing: PACED }, 'USER:a': { pacing: FASTER } } },
  { sequences: ['second'], accounts: { 'USER:a': { sequence: 'second' }, OTHER: { exchange: 'elsewhere' } } },
  {
    sequences: ['second', 'third'],
    accounts: {
      MASTER: { sequence: 'third', pacing: FASTER },
      'USER:a': { sequence: 'second', pacing: PACED },
      OTHER: { exchange: 'elsewhere', sequence: 'second' },
    },
  },
  { sequences: [], accounts: { MASTER: { pacing: FASTER }, OTHER: { exchange: 'elsewhere', pacing: PACED } } },
];

type Maker = (
  random: Random,
  context: { readonly bots: number; readonly accounts: readonly [string, ...string[]] },
) => Step;

/** The sorts of faults. A seed has some of them: a run with all at once would get nowhere. */
const FAULTS: Readonly<Record<string, readonly [Maker, ...Maker[]]>> = {
  kill: [
    () => ({ atMs: 0, kind: 'kill' }),
    (random) => ({ atMs: 0, kind: 'kill-at', effect: random.pick(EFFECTS), nth: random.between(1, 6) }),
  ],
  stop: [() => ({ atMs: 0, kind: 'stop' })],
  power: [
    (random) => ({
      atMs: 0,
      kind: 'power-cut',
      downMs: random.between(1_000, 20_000),
      offMs: random.pick([0, 0, 0, random.between(-40_000, 2_000), -86_400_000]),
    }),
  ],
  stall: [(random) => ({ atMs: 0, kind: 'stall-daemon', ms: random.pick([200, 1_500, 3_000, 6_000, 30_000]) })],
  disk: [
    (random) => ({
      atMs: 0,
      kind: 'disk-trouble',
      trouble: random.pick(['ENOSPC', 'ENOSPC', 'EROFS', 'EMFILE', 'EDQUOT', 'short-write', 'EIO-sync', 'EIO-write']),
      ms: random.between(50, 6_000),
    }),
  ],
  slow: [
    (random) => ({
      atMs: 0,
      kind: 'slow-disk',
      stepMs: random.pick([20, 150, 700, 4_000]),
      ms: random.between(500, 8_000),
    }),
  ],
  notes: [
    (random) => ({ atMs: 0, kind: 'notes-trouble', trouble: random.pick(['short', 'ENOSPC']) }),
    (random) => ({ atMs: 0, kind: 'damage-notes', file: random.pick(['leases', 'accounts']), at: random.below(128) }),
  ],
  state: [
    (random) => ({
      atMs: 0,
      kind: 'damage-state',
      how: random.pick(['flip', 'flip', 'flip', 'cut', 'empty']),
      at: random.below(100_000),
    }),
  ],
  clock: [
    (random) => ({
      atMs: 0,
      kind: 'wall-step',
      ms: random.pick([1, -1]) * random.pick([300, 20_000, 1_800_000, 7_200_000, 400_000_000]),
    }),
    (random) => ({ atMs: 0, kind: 'suspend', ms: random.between(1_000, 7_200_000) }),
  ],
  connections: [() => ({ atMs: 0, kind: 'break' })],
  bots: [
    (random, { bots }) => ({
      atMs: 0,
      kind: 'crash-bot',
      bot: random.below(bots),
      downMs: random.between(10, 4_000),
    }),
    (random, { bots }) => ({ atMs: 0, kind: 'stall-bot', bot: random.below(bots), ms: random.between(100, 12_000) }),
  ],
  rogues: [
    (random, { bots, accounts }) => ({
      atMs: 0,
      kind: 'steal',
      bot: random.below(bots),
      account: random.pick(accounts),
    }),
    (random, { bots }) => ({ atMs: 0, kind: 'garbage', bot: random.below(bots), bytes: random.pick([1, 20, 5_000]) }),
    (random, { bots }) => ({ atMs: 0, kind: 'half', bot: random.below(bots) }),
    (random, context) => ({ atMs: 0, kind: 'twice', ...wish(random, context) }),
    (random, context) => ({
      atMs: 0,
      kind: 'leave',
      how: random.pick(['close', 'half-close']),
      afterMs: random.between(0, 3_000),
      ...wish(random, context),
    }),
  ],
  exchange: [
    (random, { accounts }) => ({ atMs: 0, kind: 'foreign-use', account: random.pick(accounts) }),
    () => ({ atMs: 0, kind: 'kill' }),
    (random) => ({ atMs: 0, kind: 'exchange-down', ms: random.between(1_000, 10_000) }),
  ],
  operator: [
    (random, { accounts }) => ({ atMs: 0, kind: 'pause', account: random.pick(accounts) }),
    (random, { accounts }) => ({ atMs: 0, kind: 'resume', account: random.pick(accounts) }),
    (random) => ({ atMs: 0, kind: 'exclude', policy: random.pick(['global', 'account', 'off', 'global', 'account']) }),
    (random, { accounts }) => ({
      atMs: 0,
      kind: 'advance',
      ...(random.chance(0.5) ? { account: random.pick(accounts) } : {}),
      ...(random.chance(0.7) ? { by: random.between(1, 2_000_000_000) } : {}),
    }),
  ],
  siege: [
    (random, context) => ({
      atMs: 0,
      kind: 'siege',
      times: random.between(8, 14),
      ...wish(random, context),
      priority: 'background',
      waitMs: 15_000,
      callMs: random.between(200, 600),
    }),
  ],
  policies: [
    (random, { accounts }) => ({
      atMs: 0,
      kind: 'advance',
      ...(random.chance(0.5) ? { account: random.pick(accounts) } : {}),
      by: random.between(1, 20_000_000_000),
    }),
    (random) => ({ atMs: 0, kind: 'configure', config: random.below(CONFIGS.length) }),
    (random) => ({ atMs: 0, kind: 'edit', config: random.chance(0.5) ? 0 : random.below(CONFIGS.length) }),
    () => ({ atMs: 0, kind: 'kill' }),
  ],
};

const DAY_MS = 86_400_000;

const REPLACEMENTS: readonly [Replacement, ...Replacement[]] = [
  'another machine',
  'moved',
  'retired',
  'backup',
  'backup over a live one',
];

/** What happens to a whole state, to the runtime directory, or to the clock before the next start. */
const STATE_FAULTS: readonly [Maker, ...Maker[]] = [
  (random) => ({
    atMs: 0,
    kind: 'lose-state',
    left: random.pick(['all', 'lock', 'temporary file', 'notes', 'nothing']),
  }),
  (random) => ({ atMs: 0, kind: 'replace-state', by: random.pick(REPLACEMENTS) }),
  () => ({ atMs: 0, kind: 'lose-notes' }),
  (random) => ({
    atMs: 0,
    kind: 'power-cut',
    downMs: random.between(1_000, 5_000),
    offMs: random.pick([500, 5_000]) * DAY_MS,
  }),
];

/** What happens while the first daemon makes the first state. */
const FIRST_START_FAULTS: readonly [Maker, ...Maker[]] = [
  () => ({ atMs: 0, kind: 'kill' }),
  (random) => ({ atMs: 0, kind: 'kill-at', effect: random.pick(EFFECTS), nth: random.between(1, 2) }),
  (random) => ({ atMs: 0, kind: 'power-cut', downMs: random.between(1_000, 5_000), offMs: 0 }),
  (random) => ({
    atMs: 0,
    kind: 'disk-trouble',
    trouble: random.pick(['ENOSPC', 'EROFS', 'EMFILE', 'EIO-sync', 'EIO-write']),
    ms: random.between(50, 2_000),
  }),
];

const EFFECTS: readonly [Effect, ...Effect[]] = [
  'note',
  'wire',
  'create',
  'reserve',
  'write',
  'sync',
  'rename',
  'sync-directory',
];

function wish(
  random: Random,
  { bots, accounts }: { readonly bots: number; readonly accounts: readonly [string, ...string[]] },
): Wish {
  return {
    bot: random.below(bots),
    account: random.pick(accounts),
    priority: random.pick(['urgent', 'normal', 'normal', 'background']),
    ...(random.chance(0.4) ? { ttlMs: random.between(300, 6_000) } : {}),
    waitMs: random.pick([0, 500, 3_000, 8_000, 15_000]),
    count: random.pick([1, 1, 1, 3, 1_000]),
    cost: random.pick([0, 1, 1, 1, 2]),
    callMs: random.pick([1, 20, 20, 100, 400, 2_500, 9_000]),
  };
}

const DEEDS: readonly [Deed, ...Deed[]] = ['call', 'call', 'next', 'next-other', 'renew', 'idle'];

/** What bots do. What is listed more often happens more often. */
const WORK: readonly [Maker, ...Maker[]] = [
  (random, context) => exclusive(random, context),
  (random, context) => exclusive(random, context),
  (random, context) => exclusive(random, context),
  (random, context) => ({
    atMs: 0,
    kind: 'hold',
    deeds: Array.from({ length: random.between(0, 4) }, () => random.pick(DEEDS)),
    end: random.pick(['release', 'release', 'own-clock', 'drop', 'forget']),
    ...wish(random, context),
  }),
  (random, context) => ({
    atMs: 0,
    kind: 'rush',
    times: random.between(2, 6),
    ...wish(random, context),
    callMs: random.pick([1, 20, 100]),
  }),
  (random, context) => ({ atMs: 0, kind: 'cancel', afterMs: random.between(0, 2_000), ...wish(random, context) }),
  (random, context) => ({ atMs: 0, kind: 'raw-cancel', afterMs: random.between(0, 2_000), ...wish(random, context) }),
  (random, { bots, accounts }) => ({
    atMs: 0,
    kind: 'nonce',
    bot: random.below(bots),
    account: random.pick(accounts),
    count: random.pick([1, 1, 10, 1_000]),
  }),
  (random, { bots }) => ({ atMs: 0, kind: 'status', bot: random.below(bots) }),
  (random, context) => ({
    atMs: 0,
    kind: 'renewer',
    ...wish(random, context),
    ttlMs: random.between(800, 3_000),
    times: random.between(1, 8),
    everyMs: random.between(200, 1_000),
  }),
  (random, context) => ({ atMs: 0, kind: 'json', ...wish(random, context) }),
];

function exclusive(random: Random, context: Parameters<Maker>[1]): Step {
  return {
    atMs: 0,
    kind: 'exclusive',
    nested: random.chance(0.15),
    ...(random.chance(0.2) ? { maxHoldMs: random.between(500, 9_000) } : {}),
    ...wish(random, context),
  };
}

/** How long an operator takes at most to repair a state. */
const REPAIRED_BY_MS = 12_000;
/** When the first daemon is started, on the clock of the steps. */
export const BEGINS_MS = -100;

/** Returns the scenario of a seed. */
export function scenarioOf(seed: number): Scenario {
  const random = new Random(seed, 0);
  const bots = random.between(1, 4);
  const accounts: readonly [string, ...string[]] = random.chance(0.4)
    ? ['MASTER']
    : random.chance(0.5)
      ? ['MASTER', 'USER:a']
      : ACCOUNTS;
  const context = { bots, accounts };
  const kinds = Object.keys(FAULTS).filter(() => random.chance(0.3));
  const lengthMs = random.pick([3_000, 8_000, 20_000, 40_000]);
  const steps: Step[] = [];
  const add = (step: Step, atMs: number): void => {
    steps.push({ ...step, atMs: Math.round(atMs) });
  };
  for (let left = random.pick([5, 8, 14, 28]); left > 0; left--) {
    // Sometimes all at once, so that they queue.
    const atMs = random.chance(0.3) ? lengthMs * 0.3 : random.below(lengthMs);
    add(random.pick(WORK)(random, context), atMs);
  }
  for (const kind of kinds) {
    const makers = FAULTS[kind];
    if (makers === undefined) continue;
    for (let left = random.between(1, 3); left > 0; left--) {
      add(random.pick(makers)(random, context), random.below(lengthMs));
    }
  }
  // These have a stream of their own: everything else in a seed is the same with and without them.
  const starts = new Random(seed, 5);
  if (starts.chance(0.2)) {
    // Nonces that are ahead of the clock show best if anything is forgotten, and so do calls afterwards.
    if (starts.chance(0.7)) {
      add({ atMs: 0, kind: 'advance', by: starts.between(10, 60) * 1_000_000_000 }, starts.below(lengthMs / 4));
    }
    for (let left = starts.between(1, 3); left > 0; left--)
      add(starts.pick(STATE_FAULTS)(starts, context), starts.below(lengthMs));
    for (let left = 3; left > 0; left--)
      add({ atMs: 0, kind: 'nonce', ...wish(starts, context) }, lengthMs + REPAIRED_BY_MS);
  }
  // And so has this: bots that want no old call, on a machine that sleeps.
  const ages = new Random(seed, 7);
  if (ages.chance(0.15)) {
    for (const [at, step] of steps.entries()) {
      const mayBeOld = step.kind !== 'exclusive' && step.kind !== 'hold' && step.kind !== 'rush';
      if (!mayBeOld) steps[at] = { ...step, maxAgeMs: ages.pick([200, 1_000, 5_000, 20_000]) };
    }
    for (let left = ages.between(1, 4); left > 0; left--) {
      const kind = ages.pick(['suspend', 'pause-machine'] as const);
      add({ atMs: 0, kind, ms: ages.pick([1_500, 30_000, 600_000]) }, ages.below(lengthMs));
    }
  }
  if (starts.chance(0.1)) {
    add(starts.pick(FIRST_START_FAULTS)(starts, context), BEGINS_MS + starts.pick([0, 1, 2, 10, 40, 90]));
  }
  // One bot alone gets no answer, and the others go on beside it.
  const lone = new Random(seed, 6);
  if (bots > 1 && lone.chance(0.1)) {
    const atMs = lone.below(lengthMs);
    const bot = lone.below(bots);
    add({ atMs: 0, kind: 'cut-off-bot', bot, ms: 20_000 }, atMs);
    const begin = (by: number, afterMs: number): void => {
      const call = { priority: 'normal', count: 1, cost: 0, waitMs: 8_000, callMs: 20 } as const;
      add({ atMs: 0, kind: 'exclusive', nested: false, ...wish(lone, context), ...call, bot: by }, atMs + 1 + afterMs);
    };
    for (let calls = 0; calls < 6; calls += 1) begin(bot, 300 * calls);
    for (let other = 0; other < bots; other += 1) {
      if (other !== bot) for (let calls = 0; calls < 4; calls += 1) begin(other, lone.below(6_000));
    }
  }
  steps.sort((a, b) => a.atMs - b.atMs);
  return {
    seed,
    bots,
    config: random.chance(0.5) ? 0 : random.below(CONFIGS.length),
    policy: random.pick(['global', 'global', 'global', 'account', 'off']),
    isService: starts.chance(0.1),
    clockOffMs: starts.chance(0.1) ? starts.pick([-2_000, -20_000, -200 * DAY_MS]) : 0,
    stepMs: random.pick([0.125, 0.25, 2, 15]),
    latencyMs: random.pick([0.125, 0.25, 3, 40]),
    fragmentation: random.pick([0, 0.3]),
    loss: random.pick([0, 0.5]),
    steps,
  };
}
