import { lstatSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { systemErrorCode } from '../../errors.ts';
import type { Owner, Surroundings } from './socket-path.ts';

/** This host and this process, for the search of the socket. */
export function surroundings(): Surroundings {
  return {
    environment: process.env,
    uid: process.getuid?.() ?? -1,
    temporaryDirectory: tmpdir(),
    exists,
    isDirectory,
    owner,
  };
}

function exists(path: string): boolean {
  try {
    statSync(path);
    return true;
  } catch (error) {
    // Anything else, EACCES above all, is no proof that nothing is there: connecting will tell what is wrong.
    const code = systemErrorCode(error);
    return code !== 'ENOENT' && code !== 'ENOTDIR';
  }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function owner(path: string): Owner | undefined {
  try {
    const stats = lstatSync(path);
    return { uid: stats.uid, mode: stats.mode, isDirectory: stats.isDirectory() };
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
