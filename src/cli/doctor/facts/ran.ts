import { execFile } from 'node:child_process';

/** How a program ended. */
export type Ran =
  | { readonly kind: 'ran'; readonly code: number; readonly stdout: string; readonly stderr: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'late' };

const WITHIN_MS = 4_000;

/** Runs a program, with messages in English. Never rejects, and kills a program that takes too long. */
export function ran(program: string, ...args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const options = {
      encoding: 'utf8',
      timeout: WITHIN_MS,
      killSignal: 'SIGKILL',
      env: { ...process.env, LC_ALL: 'C' },
    } as const;
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve({ kind: 'ran', code: 0, stdout: stdout.trim(), stderr: stderr.trim() });
      else if (error.killed) resolve({ kind: 'late' });
      else if (typeof error.code === 'number')
        resolve({ kind: 'ran', code: error.code, stdout: stdout.trim(), stderr: stderr.trim() });
      else resolve({ kind: 'missing' });
    });
  });
}

/** Returns what the program printed, or undefined if it failed. */
export async function printedBy(program: string, ...args: readonly string[]): Promise<string | undefined> {
  const end = await ran(program, ...args);
  return end.kind === 'ran' && end.code === 0 ? end.stdout : undefined;
}
