import { expect, type TestContext, test } from 'vitest';
import { runInProcess } from '../fixtures/command-line.ts';
import {
  type DaemonPlace,
  type DaemonProcess,
  daemonPlace,
  spawnDaemon,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { everyNth } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';
import { type Call, obstacleToTracing, StartGate, type Tracer, trace } from './kill-at-syscall-tracer.ts';

/** More than the margin of a sequence in seconds: an answer to so many needs a write of its own. */
const COUNT = 100;
const CONNECTIONS = 6;
const OPTIONS = { env: { UV_THREADPOOL_SIZE: '1' }, wrapper: ['setpriv', '--pdeathsig', 'KILL'] };
const WITHIN_MS = 240_000;

function freshPlace(context: TestContext): DaemonPlace {
  const obstacle = obstacleToTracing();
  context.skip(obstacle !== undefined, obstacle);
  const place = daemonPlace();
  context.onTestFinished(() => place.remove());
  return place;
}

/** Seconds, so that every nonce depends on its ceiling: they soon are far ahead of the clock. */
async function begin({ stateDir, runtimeDir }: DaemonPlace): Promise<void> {
  const directories = ['--state-dir', stateDir, '--runtime-dir', runtimeDir];
  const init = await runInProcess(['state', 'init', '--floor', 'now', '--unit', 's', ...directories]);
  expect(init).toMatchObject({ code: 0, stderr: '' });
}

/** All daemons on one state, one after the other, and what they have answered. */
class Reign {
  readonly place: DaemonPlace;
  /** The highest nonce that was answered by any of them. */
  highest = 0n;
  #daemon: DaemonProcess | undefined;

  constructor(context: TestContext, place: DaemonPlace) {
    this.place = place;
    context.onTestFinished(async () => {
      await this.#daemon?.end('SIGKILL');
    });
  }

  spawn(env: Readonly<Record<string, string>>): DaemonProcess {
    this.#daemon = spawnDaemon(this.place, { ...OPTIONS, env: { ...OPTIONS.env, ...env } });
    return this.#daemon;
  }

  /** Starts the next one, however the last one ended, and draws a nonce, which must lie above all before. */
  async next(killedBefore: string): Promise<DaemonProcess> {
    this.#daemon = await startDaemonProcess(this.place, OPTIONS);
    const connection = await RawConnection.open(this.place.socket);
    const { nonce } = await connection.ask('nonce', { account: 'MASTER' });
    connection.destroy();
    expect(BigInt(nonce as string), `after a kill before ${killedBefore}`).toBeGreaterThan(this.highest);
    this.highest = BigInt(nonce as string);
    return this.#daemon;
  }

  /** Draws and acquires over several connections until they break. */
  async grantUntilKilled(): Promise<void> {
    const nonces = Array.from({ length: CONNECTIONS }, () => this.#grant('nonce'));
    await Promise.all([this.#grant('acquire'), ...nonces]);
  }

  async #grant(method: 'nonce' | 'acquire'): Promise<void> {
    let connection: RawConnection | undefined;
    try {
      const opened = await RawConnection.open(this.place.socket);
      connection = opened;
      // It was opened half-open: only once we end it too is it closed, after all that had been answered.
      this.#daemon?.ended.then(() => opened.end());
      for (;;) {
        // Some want the ceiling raised, others come while it is being raised and must not pass the old one.
        const count = 1 + Math.floor(Math.random() * COUNT);
        const { nonce, token } = await opened.ask(method, { account: 'MASTER', count });
        const last = BigInt(nonce as string) + BigInt(count) - 1n;
        if (last > this.highest) this.highest = last;
        if (method === 'acquire') opened.notify('release', { token });
      }
    } catch (error) {
      // The daemon was killed. Any other refusal fails the test.
      if (error instanceof Error && /closed before|ECONN|EPIPE|ENOENT/.test(error.message)) return;
      throw error;
    } finally {
      connection?.destroy();
    }
  }
}

const isRename = ({ kind }: Call): boolean => kind.startsWith('rename');
const name = ({ kind, ordinal }: Call): string => `${kind} #${ordinal}`;

test.concurrent(
  'I1, I2: killed at any system call of a write under way while granting, the next daemon begins above every nonce answered',
  async (context) => {
    const place = freshPlace(context);
    await begin(place);
    const reign = new Reign(context, place);

    let daemon = await reign.next('a first start');
    const recorder = await trace(daemon.pid, place.dir);
    const granted = reign.grantUntilKilled();
    await eventually('four writes', () => recorder.calls().filter(isRename).length > 3);
    await daemon.end('SIGKILL');
    await granted;
    await recorder.ended;
    const calls = recorder.calls();
    // From one rename to the next: all of one write, although it begins in the middle.
    const [second = 0, third = 0] = calls.flatMap((call, index) => (isRename(call) ? [index] : [])).slice(1);
    const write = calls.slice(second + 1, third + 1);
    expect(write.filter(isRename)).toHaveLength(1);
    expect(write.filter(({ kind }) => kind === 'fsync')).toHaveLength(2);

    let before = 'the recorded calls';
    for (const call of everyNth(write, 6)) {
      daemon = await reign.next(before);
      before = name(call);
      const killer = await trace(daemon.pid, place.dir, call);
      await reign.grantUntilKilled();
      expect(await daemon.ended, name(call)).toBe('SIGKILL');
      await killer.ended;
      expect(killer.calls().at(-1), name(call)).toEqual(call);
    }
    await reign.next(before);
  },
  WITHIN_MS,
);

test.concurrent(
  "I1, I2: killed at any system call of a start's write, the next start succeeds and begins above every nonce answered",
  async (context) => {
    const place = freshPlace(context);
    await begin(place);
    const reign = new Reign(context, place);
    const gate = new StartGate(place.dir);

    /** A start that is traced from its lock on, up to its end or until clients can connect. */
    const tracedStart = async (killAt?: Call): Promise<{ daemon: DaemonProcess; tracer: Tracer }> => {
      gate.close();
      const daemon = reign.spawn(gate.env);
      await gate.reached();
      const tracer = await trace(daemon.pid, place.dir, killAt);
      gate.open();
      await eventually(
        'the end of a start',
        () => daemon.log().includes('is ready') || daemon.child.signalCode !== null,
      );
      return { daemon, tracer };
    };
    const grantSome = async (killedBefore: string): Promise<void> => {
      const daemon = await reign.next(killedBefore);
      const connection = await RawConnection.open(place.socket);
      for (let asked = 0; asked < 3; asked++) {
        const { nonce } = await connection.ask('nonce', { account: 'MASTER', count: COUNT });
        reign.highest = BigInt(nonce as string) + BigInt(COUNT) - 1n;
      }
      connection.destroy();
      await daemon.end('SIGKILL');
    };

    await grantSome('a first start');
    const recorded = await tracedStart();
    await recorded.daemon.end('SIGKILL');
    await recorded.tracer.ended;
    // How often a thread wakes the event loop differs from start to start.
    const calls = recorded.tracer.calls().filter(({ kind }) => kind !== 'write');
    expect(calls.filter(isRename)).toHaveLength(1);
    expect(calls.filter(({ kind }) => kind === 'fsync')).toHaveLength(2);

    for (const call of everyNth(calls, 6)) {
      const { daemon, tracer } = await tracedStart(call);
      expect(await daemon.ended, name(call)).toBe('SIGKILL');
      await tracer.ended;
      expect(tracer.calls().at(-1), name(call)).toEqual(call);
      await grantSome(name(call));
    }
  },
  WITHIN_MS,
);

test('I9: killed before the very first state is there, the next start says what was lost and how to go on', async (context) => {
  const place = freshPlace(context);
  const reign = new Reign(context, place);
  const gate = new StartGate(place.dir);
  const daemon = reign.spawn(gate.env);
  await gate.reached();
  await trace(daemon.pid, place.dir, { kind: 'rename', ordinal: 1 });
  gate.open();
  expect(await daemon.ended).toBe('SIGKILL');
  const refused = spawnDaemon(place);
  expect(await refused.ended).toBe(78);
  const command = `state init --floor now --unit UNIT --state-dir ${place.stateDir}`;
  expect(refused.log()).toContain(`nonced ${command}`);
  expect(await runInProcess(command.replace('UNIT', 'ns').split(' '))).toMatchObject({ code: 0 });
  await reign.next('its first rename');
});
