import { callWork } from './call.ts';
import { handOffWork } from './hand-off.ts';
import { nonceWork } from './nonce.ts';
import type { Work } from './work.ts';

/** In the order in which they are run and shown. */
export const WORKS: readonly Work[] = [nonceWork, callWork, handOffWork];
