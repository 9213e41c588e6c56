import { callWork } from './call.ts';
import { growthWork } from './growth.ts';
import { handOffWork } from './hand-off.ts';
import { nonceWork } from './nonce.ts';
import type { Work } from './work.ts';

/** Those that put a load on peers, in the order in which they are run and shown. */
export const WORKS: readonly Work[] = [nonceWork, callWork, handOffWork, growthWork];

/** And those that look at the daemon alone. */
export const PROBES = ['memory', 'idle', 'start'] as const;
