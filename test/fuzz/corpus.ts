import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const CORPUS = join(import.meta.dirname, 'corpus');

/** An input that once broke something, or might: its name says what is in it. */
export interface Specimen {
  readonly name: string;
  readonly bytes: Buffer;
}

/**
 * `messages` are what a client may send, `answers` what a daemon may, `policies` what may stand in a configuration.
 * An input that breaks something is put there under a name of its own.
 */
export function specimens(kind: 'messages' | 'answers' | 'policies'): readonly Specimen[] {
  return readdirSync(join(CORPUS, kind)).map((file) => ({
    name: file.replace(/\.bin$/, ''),
    bytes: readFileSync(join(CORPUS, kind, file)),
  }));
}

/** The bytes in pieces of this length. */
export function pieces(bytes: Uint8Array, length: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / length) }, (_, index) =>
    bytes.slice(index * length, (index + 1) * length),
  );
}
