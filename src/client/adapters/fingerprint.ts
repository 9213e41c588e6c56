import { createHash } from 'node:crypto';

/** What the daemon may know of an API key: the first 16 hex digits of the SHA-256 of its *public* part. */
export function fingerprintOf(publicKey: string): string {
  return createHash('sha256').update(publicKey).digest('hex').slice(0, 16);
}
