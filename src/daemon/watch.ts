/** Notices that the places where clients and the next daemon look are gone. */
import { fstatSync, statSync } from 'node:fs';
import type { Clock, Timer } from '../clock.ts';
import { EXIT, ExitError } from '../errors.ts';
import type { Log } from './log/log.ts';

const LOOK_EVERY_MS = 3_000;

interface WatchedSocket {
  readonly path: string;
  /** systemd holds it, and a daemon that is started again gets the same one. */
  readonly isPassed: boolean;
  isFound(): boolean;
}

export interface WatchedPlaces {
  readonly clock: Clock;
  readonly runtimeDir: string;
  readonly runtimeDirFd: number;
  readonly sockets: readonly WatchedSocket[];
  readonly log: Log;
  /** Called once. The daemon must end, and one that is started again makes the places again. */
  readonly onLost: (error: ExitError) => void;
}

/** Looks at once, and then every few seconds. */
export function watchPlaces(places: WatchedPlaces): Pick<Timer, 'cancel'> {
  const { clock, runtimeDir, runtimeDirFd, sockets, log, onLost } = places;
  const missed = new Set<string>();
  let timer: Timer | undefined;
  const look = (): void => {
    const lost = lostPlace(runtimeDir, runtimeDirFd, sockets);
    if (lost !== undefined) {
      onLost(
        new ExitError(
          EXIT.tempFail,
          `${lost} was removed or replaced while nonced ran: bots do not find it there. It ends so that its service ` +
            'manager starts it again; without one, start it again yourself',
        ),
      );
      return;
    }
    for (const { path, isPassed, isFound } of sockets) {
      if (!isPassed) continue;
      if (isFound()) missed.delete(path);
      else if (!missed.has(path)) {
        missed.add(path);
        log.error(
          `${path} is gone, or was replaced, although systemd holds a socket for it: bots do not find it there. Unless ` +
            'its unit names another path, run: sudo systemctl restart nonced.socket nonced-admin.socket',
        );
      }
    }
    timer = clock.after(LOOK_EVERY_MS, look);
  };
  look();
  return { cancel: () => timer?.cancel() };
}

function lostPlace(runtimeDir: string, runtimeDirFd: number, sockets: readonly WatchedSocket[]): string | undefined {
  const there = statSync(runtimeDir, { bigint: true, throwIfNoEntry: false });
  const ours = fstatSync(runtimeDirFd, { bigint: true });
  if (there === undefined || there.dev !== ours.dev || there.ino !== ours.ino) return `runtime directory ${runtimeDir}`;
  return sockets.find(({ isPassed, isFound }) => !isPassed && !isFound())?.path;
}
