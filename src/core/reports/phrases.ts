/** What the verdicts say in several places: about a call, and how many there are. */
import { formatDuration } from '../../durations.ts';
import { processText } from '../../process-text.ts';
import type { EndedCall, GrantedCall } from '../record/recent-calls.ts';

export type Parts = readonly (string | undefined)[];

export const present = (parts: Parts): string[] => parts.filter((part) => part !== undefined);

/** Returns which program made a call: `grid-bot (pid 4711, place order)`. */
export function programOf({ holder, pid, label }: GrantedCall): string {
  return processText(holder ?? 'an unnamed program', pid, label);
}

/** Returns how the lease of a call ended, as a clause. */
export function ending(call: EndedCall): string {
  const held = formatDuration(call.endedAtMs - call.grantedAtMs);
  switch (call.ended) {
    case 'released':
      return `its lease was released after ${held}`;
    case 'expired':
      return `its lease expired after ${held}`;
    case 'preempted':
      return `its lease, a background one, was ended for an urgent call after ${held}`;
    case 'disconnected':
      return `its connection closed after ${held}`;
    case 'lost':
      return 'its program did not come back in time after a restart of the daemon';
  }
}

export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
export const was = (count: number): string => (count === 1 ? 'was' : 'were');
export const times = (count: number): string => (count === 1 ? 'Once' : `${count} times`);
export const lower = (sentence: string): string => sentence.charAt(0).toLowerCase() + sentence.slice(1);
export const upper = (sentence: string): string => sentence.charAt(0).toUpperCase() + sentence.slice(1);
