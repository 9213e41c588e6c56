import { lstatSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { systemErrorCode } from '../../errors.ts';
import { MAX_TEXT_BYTES } from '../../terms.ts';
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

/** File names that say nothing without their directory. */
const GENERIC = /^(index|main)\.[cm]?[jt]s$/;

/** Returns what a bot is called that gives itself no name: its program, so that `nonced status` can tell it from others. */
export function programName([node = 'node', script = node]: readonly string[] = process.argv): string {
  const file = basename(script);
  const name = GENERIC.test(file) ? join(basename(dirname(script)), file) : file;
  return name.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, MAX_TEXT_BYTES) || 'node';
}
