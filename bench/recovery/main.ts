// How long bots stand still when the daemon dies: from SIGKILL to the next grant at a client that is already connected,
// the daemon being started again the moment it is gone. Beside it, in the same rounds, what starting a bare Node takes.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect, type Nonced } from 'nonced-client';
import { type DaemonPlace, daemonPlace, NONCED } from '../../test/fixtures/daemon-process.ts';

const DEFAULT_ROUNDS = 1_000;
const CONNECT_TIMEOUT_MS = 20_000;

interface Round {
  /** A bare `node -e 0`, from its start to its end. */
  readonly bareMs: number;
  /** From SIGKILL to the supervisor's knowing of it, which is when it starts the next daemon. */
  readonly goneMs: number;
  /** From SIGKILL to the next grant. */
  readonly recoveryMs: number;
}

/** Starts the daemon, and at once again whenever it ends. */
class Supervisor {
  readonly #place: DaemonPlace;
  readonly #log: number;
  #daemon: ChildProcess;
  #stopped = false;
  #goneAtMs = 0;

  constructor(place: DaemonPlace) {
    this.#place = place;
    this.#log = openSync(join(place.dir, 'log'), 'a');
    this.#daemon = this.#start();
  }

  /** When it last heard of the daemon's end. */
  get goneAtMs(): number {
    return this.#goneAtMs;
  }

  kill(): void {
    this.#daemon.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.kill();
    if (this.#daemon.exitCode === null && this.#daemon.signalCode === null) await once(this.#daemon, 'exit');
    closeSync(this.#log);
  }

  #start(): ChildProcess {
    const { stateDir, runtimeDir } = this.#place;
    const directories = ['--state-dir', stateDir, '--runtime-dir', runtimeDir];
    const daemon = spawn(process.execPath, [NONCED, 'serve', '--separate', ...directories], {
      stdio: ['ignore', 'ignore', this.#log],
    });
    daemon.once('exit', () => {
      this.#goneAtMs = performance.now();
      if (!this.#stopped) this.#daemon = this.#start();
    });
    return daemon;
  }
}

async function bareStartMs(): Promise<number> {
  const startedAtMs = performance.now();
  await once(spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }), 'exit');
  return performance.now() - startedAtMs;
}

async function measure(rounds: number, supervisor: Supervisor, nonced: Nonced): Promise<readonly Round[]> {
  const measured: Round[] = [];
  let last = 0n;
  /** Makes one exclusive call and returns when it could begin. */
  const call = (): Promise<number> =>
    nonced.exclusive(({ nonce }) => {
      const grantedAtMs = performance.now();
      if (nonce <= last) throw new Error(`nonce ${nonce} came after ${last}`);
      last = nonce;
      return grantedAtMs;
    });
  await call();
  for (let round = 1; round <= rounds; round++) {
    const bareMs = await bareStartMs();
    const killedAtMs = performance.now();
    supervisor.kill();
    // Any error that the client lets through ends the benchmark: bots must not notice.
    const grantedAtMs = await call();
    measured.push({ bareMs, goneMs: supervisor.goneAtMs - killedAtMs, recoveryMs: grantedAtMs - killedAtMs });
  }
  const { epoch } = await nonced.status();
  if (epoch !== rounds + 1) throw new Error(`${rounds} kills, but the daemon was started ${epoch} times`);
  return measured;
}

function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
}

function report(rounds: readonly Round[]): void {
  const bare = rounds.map((round) => round.bareMs);
  const recovery = rounds.map((round) => round.recoveryMs);
  const row = (name: string, values: readonly number[]): string =>
    `${name.padEnd(34)}${[50, 95, 100].map((percent) => percentile(values, percent).toFixed(1).padStart(9)).join('')}`;
  const ratio = (percent: number): string => (percentile(recovery, percent) / percentile(bare, percent)).toFixed(2);
  console.log(`${rounds.length} rounds of SIGKILL and restart, no client-visible error, Node ${process.version}`);
  console.log(`${'ms'.padEnd(34)}   median      p95      max`);
  console.log(row('bare start: node -e 0', bare));
  console.log(
    row(
      'SIGKILL to the process gone',
      rounds.map((round) => round.goneMs),
    ),
  );
  console.log(row('SIGKILL to the next grant', recovery));
  console.log(`next grant / bare start: ${ratio(50)} at the median, ${ratio(95)} at p95`);
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: String(DEFAULT_ROUNDS) } } });
const rounds = Number(values.rounds);
if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds is a number from 1');

const place = daemonPlace();
const supervisor = new Supervisor(place);
try {
  const nonced = await connect({
    name: 'bench',
    socket: place.socket,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
  });
  report(await measure(rounds, supervisor, nonced));
  await nonced.close();
} catch (error) {
  console.error(readFileSync(join(place.dir, 'log'), 'utf8').split('\n').slice(-20).join('\n'));
  throw error;
} finally {
  await supervisor.stop();
  place.remove();
}
