/** Notices that the places where clients and the next daemon look are gone. */
import { fstatSync, statSync } from 'node:fs';
import type { Clock, Timer } from '../clock.ts';
import { EXIT, ExitError } from '../errors.ts';
import type { Log } from './log/log.ts';
import type { Listening } from './sockets/server.ts';

const LOOK_EVERY_MS = 5_000;

export interface WatchedPlaces {
  readonly clock: Clock;
  readonly runtimeDir: string;
  readonly runtimeDirFd: number;
  readonly sockets: readonly Pick<Listening, 'path' | 'whereabouts'>[];
  readonly log: Log;
  /** Called once. The daemon must end, and one that is started again makes the places again. */
  readonly onLost: (error: ExitError) => void;
}

/** Looks at once, and then every few seconds. */
export function watchPlaces(places: WatchedPlaces): Pick<Timer, 'cancel'> {
  const { clock, sockets, log, onLost } = places;
  for (const { path, whereabouts } of sockets) {
    // Its unit may name another path. If not, a service manager that starts the daemon again would not mend it.
    if (whereabouts() === 'never there') {
      log.error(
        `there is no ${path}, although systemd holds a socket for it: bots do not find it. Unless its unit names another ` +
          'path, run: sudo systemctl restart nonced.socket nonced-admin.socket',
      );
    }
  }
  let timer: Timer | undefined;
  const look = (): void => {
    const lost = lostPlace(places);
    if (lost === undefined) timer = clock.after(LOOK_EVERY_MS, look);
    else {
      onLost(
        new ExitError(
          EXIT.tempFail,
          `${lost} was removed or replaced while nonced ran: bots do not find it there. It ends so that its service ` +
            'manager starts it again; without one, start it again yourself',
        ),
      );
    }
  };
  look();
  return { cancel: () => timer?.cancel() };
}

function lostPlace({ runtimeDir, runtimeDirFd, sockets }: WatchedPlaces): string | undefined {
  const there = statSync(runtimeDir, { bigint: true, throwIfNoEntry: false });
  const ours = fstatSync(runtimeDirFd, { bigint: true });
  if (there === undefined || there.dev !== ours.dev || there.ino !== ours.ino) return `runtime directory ${runtimeDir}`;
  return sockets.find(({ whereabouts }) => whereabouts() === 'gone')?.path;
}
