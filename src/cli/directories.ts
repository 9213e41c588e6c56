import { existsSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { type Directories, findDirectories } from '../daemon/host/directories.ts';
import type { Host } from './terminal/terminal.ts';

/** Returns the directories for this process's user. */
export function directories(
  asked: { stateDir?: string | undefined; runtimeDir?: string | undefined },
  env: Host['env'],
): Directories {
  const found = findDirectories(asked, {
    variables: env,
    uid: process.getuid?.() ?? 0,
    homeDir: homedir,
    temporaryDir: tmpdir(),
    exists: existsSync,
  });
  return { ...found, stateDir: resolve(found.stateDir), runtimeDir: resolve(found.runtimeDir) };
}
