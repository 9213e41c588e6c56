import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cpuMs, residentKiB, writtenBytes } from '../account.ts';
import { laneName } from '../peer.ts';
import { type NoncedServer, nonced, ProtocolLink, startNonced } from '../peers/nonced.ts';
import { remove } from '../processes.ts';

const LANE = laneName(0);
const WAIT_MS = 600_000;
/** For what was just done to be over, on the daemon's side too. */
const SETTLE_MS = 1_000;

export interface MemoryScale {
  readonly connections: number;
  readonly waiting: number;
}

export interface Memory extends MemoryScale {
  readonly perConnectionKiB: number;
  readonly perWaiterKiB: number;
}

/** What the daemon keeps for an open connection, and for a request that waits. */
export function measureMemory({ connections, waiting }: MemoryScale, dir: string): Promise<Memory> {
  return withNonced(join(dir, 'memory'), async ({ endpoint, pid }) => {
    const alone = residentKiB(pid);
    const links: ProtocolLink[] = [];
    while (links.length < connections) {
      const link = await ProtocolLink.open(endpoint);
      // Answered before the next: no more can be connected than the daemon has come to accept.
      await allRead([link]);
      links.push(link);
    }
    const connected = residentKiB(pid);
    // The first is granted, and all others wait for it.
    const [holder, ...others] = links;
    await holder?.ask('acquire', { account: LANE, ttlMs: WAIT_MS });
    for (let asked = 0; asked < waiting; asked++) {
      others[asked % others.length]?.ask('acquire', { account: LANE, waitMs: WAIT_MS });
    }
    await allRead(links);
    const full = residentKiB(pid);
    for (const link of links) link.close();
    return {
      connections,
      waiting,
      perConnectionKiB: (connected - alone) / connections,
      perWaiterKiB: (full - connected) / waiting,
    };
  });
}

/** Requests of a connection are looked at in order: once the last is answered, all before it have been read. */
async function allRead(links: readonly ProtocolLink[]): Promise<void> {
  await Promise.all(links.map((link) => link.ask('nonce', {})));
}

export interface IdleScale {
  readonly connections: number;
  readonly seconds: number;
}

export interface Idle extends IdleScale {
  readonly cpuPercent: number;
  readonly writtenBytes: number;
  readonly residentMiB: number;
}

/** What an idle daemon costs, with bots connected that have used it. */
export function measureIdle({ connections, seconds }: IdleScale, dir: string): Promise<Idle> {
  return withNonced(join(dir, 'idle'), async ({ endpoint, pid }) => {
    const clients = [];
    while (clients.length < connections) clients.push(await nonced.open(endpoint, 1));
    for (const { nonce } of clients) await nonce?.();
    await sleep(SETTLE_MS);
    const before = { cpuMs: cpuMs(pid), writtenBytes: writtenBytes(pid) };
    await sleep(seconds * 1e3);
    const idle = {
      connections,
      seconds,
      cpuPercent: (cpuMs(pid) - before.cpuMs) / (seconds * 10),
      writtenBytes: writtenBytes(pid) - before.writtenBytes,
      residentMiB: residentKiB(pid) / 1024,
    };
    await Promise.all(clients.map((client) => client.close?.()));
    return idle;
  });
}

async function withNonced<T>(dir: string, look: (server: NoncedServer) => Promise<T>): Promise<T> {
  mkdirSync(dir);
  const server = await startNonced(dir);
  try {
    return await look(server);
  } finally {
    await server.stop();
    remove(dir);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
