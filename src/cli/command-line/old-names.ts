import { note } from '../terminal/output.ts';

/** Says that something was called by the name that it had in 0.1, which works until 0.3. */
export function noteOldName(old: string, current: string): void {
  note(`'${old}' is now '${current}'; the old name goes in the next version`);
}
