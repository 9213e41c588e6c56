import { connect } from '../../client/index.ts';
import type { Terminal } from '../terminal/terminal.ts';

export interface NonceCommandOptions {
  readonly account: string;
  readonly count: number;
  readonly socket?: string;
}

/** Prints `count` consecutive nonces, one a line. */
export async function nonce({ account, count, socket }: NonceCommandOptions, terminal: Terminal): Promise<void> {
  const client = await connect({ name: 'nonced nonce', socket });
  try {
    const first = await client.nonce({ account, count });
    for (let index = 0; index < count; index++) terminal.printLine(String(first + BigInt(index)));
  } finally {
    await client.close();
  }
}
