// A bot without the client library: it speaks JSON lines on two connections, and the second one tries to use what the
// first one holds. Its argument is ClientOptions as JSON.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../simulate/random.ts';
import type { ClientOptions } from './client-process.ts';
import { type DrawnEntry, HistoryWriter, nowMs } from './history.ts';
import { JsonLines, Refused } from './json-lines.ts';
import { ACCOUNTS } from './terms.ts';

const ANSWER_MS = 25_000;

const options = JSON.parse(process.argv[2] ?? '{}') as ClientOptions;
const random = new Random(options.seed, options.stream);
const history = new HistoryWriter(options.history);
process.stdin.on('end', () => process.exit(0)).resume();
history.write({ k: 'begun', pid: process.pid });

/** Both connections to the same daemon. */
interface Connections {
  readonly own: JsonLines;
  readonly stranger: JsonLines;
  readonly epoch: number;
}

const session = randomBytes(16).toString('hex');
async function connected(): Promise<Connections> {
  for (;;) {
    const opened: JsonLines[] = [];
    try {
      const own = await JsonLines.open(options.socket);
      opened.push(own);
      const stranger = await JsonLines.open(options.socket);
      opened.push(stranger);
      const { epoch, held } = await own.ask('hello', { name: options.name, pid: process.pid, session }, ANSWER_MS);
      const other = await stranger.ask('hello', { name: `${options.name}-stranger` }, ANSWER_MS);
      if (other['epoch'] !== epoch) throw new Refused('GONE', 'two daemons, one after the other');
      own.onRevoked = (token, why) => history.write({ k: 'lost', token, epoch: Number(epoch), why });
      // What was held before the restart is released: this bot has lost track of it.
      for (const { token } of held as readonly { token: string }[]) {
        history.write({ k: 'releasing', token });
        await own.ask('release', { token }, ANSWER_MS);
      }
      return { own, stranger, epoch: Number(epoch) };
    } catch {
      for (const one of opened) one.close();
      await sleep(50);
    }
  }
}

function drew(entry: Omit<DrawnEntry, 't' | 'k'>, t?: number): void {
  history.write({ k: 'drawn', ...entry }, t);
}

async function call({ own, stranger, epoch }: Connections): Promise<void> {
  const account = random.pick([...ACCOUNTS] as [string, ...string[]]);
  const runsOut = random.chance(0.15);
  const ttlMs = runsOut ? random.between(100, 700) : random.between(2_000, 6_000);
  const asked = history.write({ k: 'asked', what: 'acquire' });
  const grant = await own.ask('acquire', { account, ttlMs, waitMs: 20_000, label: 'raw' }, ANSWER_MS);
  const [token, nonce] = [String(grant['token']), String(grant['nonce'])];
  // From the time of the request, which is never later than the daemon's own.
  const from = Math.min(asked + Number(grant['waitedMs']), nowMs());
  const endsAt = from + Number(grant['ttlMs']);
  drew({ kind: 'grant', asked, askedOf: epoch, epoch, account, nonce, count: 1, token, endsAt });
  if (random.chance(0.3)) await intrude(stranger, token);
  if (runsOut) {
    await sleep(ttlMs + 300);
    return;
  }
  await sleep(random.below(10));
  if (random.chance(0.3)) {
    const again = history.write({ k: 'asked', what: 'next' });
    try {
      const next = await own.ask('next', { token }, ANSWER_MS);
      const nonce = String(next['nonce']);
      drew({ kind: 'next', asked: again, askedOf: epoch, epoch, account, nonce, count: 1, token, endsAt });
    } catch (error) {
      refused('next', error);
    }
  }
  const releasing = history.write({ k: 'releasing', token });
  if (random.chance(0.05)) {
    own.close();
    return;
  }
  try {
    const { released } = await own.ask('release', { token, outcome: 'ok' }, ANSWER_MS);
    history.write({ k: 'released', token, asked: releasing, epoch, wasLive: released === true });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    // The release may be on its way. What is left of the lease ends with the connection.
    own.close();
  }
  if (random.chance(0.2)) await intrude(own, token);
}

function refused(what: string, error: unknown): void {
  if (!(error instanceof Refused)) throw error;
  history.write({ k: 'refused', what, code: error.code });
}

/** Tries to use a token that is not this connection's, or whose lease has ended. */
async function intrude(connection: JsonLines, token: string): Promise<void> {
  const what = random.pick(['next', 'renew', 'release']);
  const code = await connection.ask(what, { token }, ANSWER_MS).then(
    (result) =>
      what === 'release' && result['released'] === false ? 'LEASE_LOST' : `accepted: ${JSON.stringify(result)}`,
    (error: Refused) => error.code,
  );
  if (code !== 'GONE' && code !== 'SHUTTING_DOWN') history.write({ k: 'intruded', token, what, code });
}

let connections = await connected();
for (;;) {
  try {
    await call(connections);
  } catch (error) {
    refused('acquire', error);
  }
  if (connections.own.isClosed || connections.stranger.isClosed) {
    connections.own.close();
    connections.stranger.close();
    connections = await connected();
  }
  await sleep(random.below(25));
}
