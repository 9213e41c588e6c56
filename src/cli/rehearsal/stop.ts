import type { Clock } from '../../clock.ts';

/** Why a rehearsal ends before its last act. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
  readonly ending: 'interrupted' | 'gone';

  constructor(ending: 'interrupted' | 'gone') {
    super(ending);
    this.ending = ending;
  }
}

/** Returns a pause that rejects with the signal's reason as soon as the signal aborts. */
export function pauseUnless(signal: AbortSignal, clock: Clock): (ms: number) => Promise<void> {
  return (ms) =>
    new Promise((resolve, reject) => {
      const stop = () => {
        timer.cancel();
        reject(signal.reason);
      };
      const timer = clock.after(ms, () => {
        signal.removeEventListener('abort', stop);
        resolve();
      });
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
    });
}
