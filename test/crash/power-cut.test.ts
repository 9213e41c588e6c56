import { rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import {
  type DaemonPlace,
  type DaemonProcess,
  NONCED,
  runNonced,
  startDaemonProcess,
} from '../fixtures/daemon-process.ts';
import { rowsOf } from '../fixtures/effort.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';
import { Disk, type FileSystem, fileSystems, freeze, obstacleToDisk } from './power-cut-disk.ts';

/** The same daemon without the sync of the directory: the tests of the tests. */
const UNSYNCED = resolve('build/test/fixtures/unsynced-daemon-process.js');
/** What a test that is killed leaves running would keep the disk busy. */
const WITH_US = ['setpriv', '--pdeathsig', 'KILL'];

const CUTS = 5;
/** Without the sync about every second cut leads back. */
const CUTS_UNTIL_LED_BACK = 25;
/** More than the margin of a sequence in seconds: an answer to so many needs a write of its own. */
const COUNT = 100;
const CONNECTIONS = 6;
const HALF_AN_HOUR_NS = 1_800_000_000_000n;

const usable = fileSystems.filter((kind) => obstacleToDisk(kind) === undefined);
/** If there is none, the tests are skipped with the reason. */
const rows = rowsOf(usable.length > 0 ? usable : fileSystems);

function freshDisk(context: TestContext, kind: FileSystem): Disk {
  const obstacle = obstacleToDisk(kind);
  context.skip(obstacle !== undefined, obstacle);
  const disk = new Disk(kind);
  onTestFinished(() => disk.remove());
  return disk;
}

/** The state on the disk; the sockets and the notes beside it, for /run is memory. */
function placeOn(disk: Disk): DaemonPlace {
  const runtimeDir = `${disk.besides}/run`;
  return {
    dir: disk.besides,
    // Neither directory is there yet: their own entries must survive too.
    stateDir: `${disk.mounted}/lib/nonced`,
    runtimeDir,
    socket: `${runtimeDir}/nonced.sock`,
    adminSocket: `${runtimeDir}/admin.sock`,
    remove: () => {},
  };
}

async function start(place: DaemonPlace, program = NONCED): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess(place, { program, wrapper: WITH_US });
  onTestFinished(async () => {
    await daemon.end('SIGKILL');
  });
  return daemon;
}

/** Draws nonces and returns the last one. */
async function draw(connection: RawConnection, method: 'nonce' | 'acquire', count = 1): Promise<bigint> {
  const { nonce, token } = await connection.ask(method, { account: 'MASTER', count });
  if (method === 'acquire') connection.notify('release', { token });
  return BigInt(nonce as string) + BigInt(count) - 1n;
}

interface Recovery {
  readonly instance: unknown;
  readonly epoch: unknown;
  readonly nonce: bigint;
}

/** Starts the daemon on a disk that lost its power, after the reboot, and asks it for a nonce. */
async function recover(disk: Disk, copy: string): Promise<Recovery> {
  await disk.becomes(copy);
  const place = placeOn(disk);
  // The notes would tell of a state that was put back.
  rmSync(place.runtimeDir, { recursive: true });
  const daemon = await start(place);
  const connection = await RawConnection.open(place.socket);
  const { instance, epoch } = await connection.ask('status');
  const nonce = await draw(connection, 'nonce');
  connection.destroy();
  await daemon.end('SIGKILL');
  return { instance, epoch, nonce };
}

/** A first start, some nonces, an operator's advance, one more nonce; when all are answered and nothing goes on, the power goes. */
async function cutWhenIdle(disk: Disk, program: string): Promise<{ copy: string; instance: unknown; nonce: bigint }> {
  const place = placeOn(disk);
  const daemon = await start(place, program);
  const connection = await RawConnection.open(place.socket);
  const { instance } = await connection.ask('status');
  // So many, that the one nonce after the advance does not want a further write, whose sync would cover for the last.
  await draw(connection, 'nonce', 1_000);
  const admin = await RawConnection.open(place.adminSocket);
  // Ahead of the clock, which would otherwise hide that a ceiling was lost.
  await admin.ask('advance', { by: String(HALF_AN_HOUR_NS) });
  admin.destroy();
  const nonce = await draw(connection, 'nonce');
  const copy = await disk.copyOfNow();
  connection.destroy();
  await daemon.end('SIGKILL');
  return { copy, instance, nonce };
}

/** Grants as fast as it goes, in seconds, so that nearly every answer depends on a new ceiling; the power goes meanwhile. */
async function cutWhileGranting(
  disk: Disk,
  program: string,
  cuts: number,
): Promise<readonly { copy: string; answered: bigint }[]> {
  const place = placeOn(disk);
  const directories = ['--state-dir', place.stateDir, '--runtime-dir', place.runtimeDir];
  const init = await runNonced(['state', 'init', '--floor', 'now', '--unit', 's', ...directories]);
  expect(init).toMatchObject({ code: 0, stderr: '' });
  const daemon = await start(place, program);
  let highest = 0n;
  let granting = true;
  const grant = async (method: 'nonce' | 'acquire'): Promise<void> => {
    const connection = await RawConnection.open(place.socket);
    while (granting) {
      // Some want the ceiling raised, others come while it is being raised and must not pass the old one.
      const last = await draw(connection, method, 1 + Math.floor(Math.random() * COUNT));
      if (last > highest) highest = last;
    }
    connection.destroy();
  };
  const nonces = Array.from({ length: CONNECTIONS }, () => grant('nonce'));
  const grants = Promise.all([grant('acquire'), ...nonces]);
  // If something else fails first, nothing awaits it any more.
  grants.catch(() => {});

  const made: { copy: string; answered: bigint }[] = [];
  while (made.length < cuts) {
    const before = highest;
    await expect.poll(() => highest > before + 1_000n, { timeout: 90_000, interval: 1 }).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
    await freeze(daemon.pid);
    const copy = await disk.copyOfNow();
    // All that it had sent before it froze was answered.
    await settled(() => highest);
    made.push({ copy, answered: highest });
    daemon.child.kill('SIGCONT');
  }
  granting = false;
  await grants;
  await daemon.end('SIGKILL');
  return made;
}

/** Waits until all that lies in our sockets has been read. */
async function settled(value: () => bigint): Promise<void> {
  for (let [before, turns] = [value(), 0]; turns < 20; turns++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (value() !== before) [before, turns] = [value(), 0];
  }
}

test.for(rows)('I1, I2: %s: the power goes when all is answered and idle', async (kind, context) => {
  const disk = freshDisk(context, kind);
  const { copy, instance, nonce } = await cutWhenIdle(disk, NONCED);
  const after = await recover(disk, copy);
  expect(after.nonce).toBeGreaterThan(nonce);
  // The state that was there, and not a new one.
  expect(after).toMatchObject({ instance, epoch: 2 });
});

test.for(rows)('I1, I2: %s: the power goes in the middle of granting', async (kind, context) => {
  const disk = freshDisk(context, kind);
  const cuts = await cutWhileGranting(disk, NONCED, CUTS);
  for (const [index, { copy, answered }] of cuts.entries()) {
    const after = await recover(disk, copy);
    expect(after.nonce, `after cut ${index + 1}`).toBeGreaterThan(answered);
    expect(after.epoch).toBe(3);
  }
});

test.for(rows)('%s: the first of these would notice a directory that is not synced', async (kind, context) => {
  const disk = freshDisk(context, kind);
  const { copy, nonce } = await cutWhenIdle(disk, UNSYNCED);
  expect((await recover(disk, copy)).nonce).toBeLessThanOrEqual(nonce);
});

test('ext4: and so would the second', async (context) => {
  const disk = freshDisk(context, 'ext4');
  const cuts = await cutWhileGranting(disk, UNSYNCED, CUTS_UNTIL_LED_BACK);
  let ledBack = false;
  for (const { copy, answered } of cuts) {
    ledBack = (await recover(disk, copy)).nonce <= answered;
    if (ledBack) break;
  }
  expect(ledBack).toBe(true);
});
