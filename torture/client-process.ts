// A bot that uses the client library in every way that it offers, until it is killed or its input ends. Its argument is
// ClientOptions as JSON. It writes what it sees to its history before it acts on it.
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Grant, type Nonced, NoncedError } from 'nonced-client';
import { Random } from '../simulate/random.ts';
import { HistoryWriter, nowMs } from './history.ts';
import { ACCOUNTS, unitOf } from './terms.ts';

export interface ClientOptions {
  readonly name: string;
  readonly socket: string;
  readonly history: string;
  readonly seed: number;
  readonly stream: number;
  /** How many calls are under way or waiting at once. */
  readonly concurrency: number;
}

const options = JSON.parse(process.argv[2] ?? '{}') as ClientOptions;
const random = new Random(options.seed, options.stream);
const history = new HistoryWriter(options.history);
process.stdin.on('end', () => process.exit(0)).resume();
history.write({ k: 'begun', pid: process.pid });

type Priority = 'urgent' | 'normal' | 'background';
const PRIORITIES: readonly [Priority, ...Priority[]] = ['normal', 'normal', 'normal', 'urgent', 'background'];

function account(): string {
  return random.pick([...ACCOUNTS] as [string, ...string[]]);
}

/** Writes the nonces that came to the history. */
function drew(
  client: Nonced,
  of: { readonly kind: 'grant' | 'next' | 'nonce'; readonly asked: number; readonly askedOf: number },
  what: { readonly account: string; readonly nonce: bigint; readonly count: number },
  grant?: Grant,
  priority?: Priority,
): void {
  const lease = grant === undefined ? {} : { token: String(grant.token), endsAt: nowMs() + grant.expiresInMs() };
  const { epoch } = client.daemon;
  history.write({
    k: 'drawn',
    ...of,
    epoch,
    ...what,
    nonce: String(what.nonce),
    ...lease,
    ...(priority === undefined ? {} : { priority }),
  });
}

function asks(client: Nonced, what: string): { readonly asked: number; readonly askedOf: number } {
  const askedOf = client.daemon.epoch;
  return { asked: history.write({ k: 'asked', what }), askedOf };
}

function refused(what: string, error: unknown): void {
  if (!(error instanceof NoncedError)) throw error;
  history.write({ k: 'refused', what, code: error.code });
}

/** Writes to the history if the lease is lost. The returned function ends that, when the holder is done with it. */
function watch(client: Nonced, grant: Grant): () => void {
  const lost = () => {
    // The client itself says, by a careful clock, that a lease is about to end. Only one that was taken away counts.
    if (grant.expiresInMs() > 0) return;
    const why = String((grant.signal.reason as Error | undefined)?.message ?? '').slice(0, 40);
    history.write({ k: 'lost', token: String(grant.token), epoch: client.daemon.epoch, why });
  };
  grant.signal.addEventListener('abort', lost, { once: true });
  return () => grant.signal.removeEventListener('abort', lost);
}

async function callFor(priority: Priority, hangs: boolean, signal: AbortSignal): Promise<void> {
  if (hangs) await sleep(20_000, undefined, { signal }).catch(() => {});
  else if (priority === 'background' && random.chance(0.003)) await sleep(4_000, undefined, { signal }).catch(() => {});
  else await sleep(random.below(8));
}

function ended(name: string): 'ok' | 'invalid-nonce' | 'rate-limited' | 'unknown' {
  if (name === 'BAD' && random.chance(0.5)) return 'invalid-nonce';
  if (name === 'PACED' && random.chance(0.02)) return 'rate-limited';
  return random.chance(0.95) ? 'ok' : 'unknown';
}

async function drawNext(client: Nonced, grant: Grant, other?: string): Promise<void> {
  const count = random.chance(0.1) ? 50 : 1;
  const name = other ?? grant.account;
  const of = asks(client, 'next');
  try {
    const nonce = await grant.next({ count, ...(other === undefined ? {} : { account: other }) });
    drew(client, { kind: 'next', ...of }, { account: name, nonce, count }, grant);
  } catch (error) {
    refused('next', error);
  }
}

async function exclusive(client: Nonced): Promise<void> {
  const name = account();
  const priority = random.pick(PRIORITIES as [Priority, ...Priority[]]);
  const hangs = random.chance(0.01);
  const ttlMs = hangs ? random.between(200, 800) : random.between(5_000, 15_000);
  const count = random.chance(0.05) ? random.between(2, 100) : 1;
  const of = asks(client, 'exclusive');
  let granted = false;
  try {
    await client.exclusive(
      {
        account: name,
        unit: unitOf(name),
        priority,
        ttlMs,
        count,
        label: 'torture',
        waitMs: 20_000,
        outcome: () => ended(name),
      },
      async (grant) => {
        granted = true;
        drew(client, { kind: 'grant', ...of }, { account: name, nonce: grant.nonce, count }, grant, priority);
        const unwatch = watch(client, grant);
        await callFor(priority, hangs, grant.signal);
        if (random.chance(0.2)) await drawNext(client, grant);
        if (random.chance(0.15)) await nested(client, grant, random.chance(0.5) ? name : account());
        unwatch();
        history.write({ k: 'releasing', token: String(grant.token) });
      },
    );
  } catch (error) {
    if (granted && error instanceof NoncedError) return;
    refused('exclusive', error);
  }
}

/** Makes an exclusive call inside another. */
async function nested(client: Nonced, outer: Grant, name: string): Promise<void> {
  const of = asks(client, 'nested');
  let granted = false;
  try {
    await client.exclusive({ account: name }, async (grant) => {
      granted = true;
      // If nothing is exclusive, another account has a lease of its own.
      const kind = grant.token === outer.token ? 'next' : 'grant';
      drew(client, { kind, ...of }, { account: name, nonce: grant.nonce, count: 1 }, grant);
      await sleep(random.below(4));
      if (kind === 'grant') history.write({ k: 'releasing', token: String(grant.token) });
    });
  } catch (error) {
    if (granted && error instanceof NoncedError) return;
    refused('nested', error);
  }
}

async function acquire(client: Nonced): Promise<void> {
  const name = account();
  const priority = random.pick(PRIORITIES as [Priority, ...Priority[]]);
  const of = asks(client, 'acquire');
  let grant: Grant;
  try {
    const impatient = random.chance(0.2);
    grant = await client.acquire({
      account: name,
      priority,
      ttlMs: random.between(3_000, 9_000),
      waitMs: random.chance(0.1) ? 0 : 15_000,
      ...(impatient ? { signal: AbortSignal.timeout(random.below(60)) } : {}),
    });
  } catch (error) {
    refused('acquire', error);
    return;
  }
  drew(client, { kind: 'grant', ...of }, { account: name, nonce: grant.nonce, count: 1 }, grant, priority);
  const token = String(grant.token);
  const unwatch = watch(client, grant);
  try {
    await callFor(priority, false, grant.signal);
    if (random.chance(0.3)) {
      await grant.renew();
      history.write({ k: 'confirmed', token, epoch: client.daemon.epoch, endsAt: nowMs() + grant.expiresInMs() });
    }
    if (random.chance(0.3)) await drawNext(client, grant);
  } catch (error) {
    if (!(error instanceof NoncedError)) throw error;
  }
  unwatch();
  if (grant.signal.aborted) return;
  const { epoch } = client.daemon;
  const asked = history.write({ k: 'releasing', token });
  const wasLive = await grant.release(ended(name), { usedOwnClock: random.chance(0.05) });
  // If the daemon has gone in between, it is unknown whether the lease was live.
  if (client.daemon.epoch === epoch) history.write({ k: 'released', token, asked, epoch, wasLive });
}

async function draw(client: Nonced): Promise<void> {
  const name = account();
  const many = name.startsWith('CNT') || name.startsWith('MS') ? 300 : 1_000;
  const count = random.chance(0.2) ? random.between(1, many) : 1;
  const of = asks(client, 'nonce');
  try {
    const nonce = await client.nonce({ account: name, count, waitMs: 20_000 });
    drew(client, { kind: 'nonce', ...of }, { account: name, nonce, count });
  } catch (error) {
    refused('nonce', error);
  }
}

async function bot(client: Nonced): Promise<void> {
  for (;;) {
    const dice = random.below(10);
    if (dice < 5) await exclusive(client);
    else if (dice < 7) await acquire(client);
    else await draw(client);
    await sleep(random.below(25));
  }
}

async function connected(): Promise<Nonced> {
  for (;;) {
    try {
      return await connect({ name: options.name, socket: options.socket, connectTimeoutMs: 20_000 });
    } catch (error) {
      if (!(error instanceof NoncedError)) throw error;
      await sleep(100);
    }
  }
}

const client = await connected();
await Promise.all(Array.from({ length: options.concurrency }, () => bot(client)));
