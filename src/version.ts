/** The program's version, as in package.json. */
export const VERSION = '0.2.0';

/** When this version was made. A wall clock before it is wrong. */
export const RELEASED_MS = Date.UTC(2026, 10, 1);
