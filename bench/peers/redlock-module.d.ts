declare module 'redlock' {
  import type { Redis } from 'ioredis';

  /** What the comparison uses of it; the package has no types. */
  export default class Redlock {
    constructor(clients: readonly Redis[], options: { readonly retryCount: number });
    lock(resource: string, ttlMs: number): Promise<{ unlock(): Promise<void> }>;
  }
}
