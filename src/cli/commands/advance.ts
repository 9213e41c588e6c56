import { connect } from '../../client/index.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { AdvanceResult, Unit } from '../../protocol/messages.ts';
import { adminSocket, askOnce } from '../ask.ts';
import { allowedLeadMs, printJson, printLine } from '../output.ts';
import { nonceSpan } from '../units.ts';

export interface AdvanceOptions {
  readonly to?: bigint | 'now';
  readonly by?: number;
  readonly sequence: string;
  readonly yes: boolean;
  readonly force: boolean;
  readonly json: boolean;
  readonly socket?: string;
}

/** Raises a sequence of the running daemon, for ever. */
export async function advance(options: AdvanceOptions): Promise<void> {
  const { to, by, sequence, json, socket } = options;
  if (to === undefined && by === undefined) {
    throw new ExitError(EXIT.usage, 'say how far: --to NONCE, --to now, or --by 5m');
  }
  const target = to === undefined ? { by: nonceSpan(by ?? 0, await unitOf(sequence, socket)) } : { to };
  const done = await askOnce<AdvanceResult>(adminSocket(socket), 'advance', {
    sequence,
    ...target,
    maxLeadMs: allowedLeadMs(options),
  });
  if (json) {
    printJson(done);
    return;
  }
  if (BigInt(done.after) <= BigInt(done.before)) {
    printLine(`sequence ${sequence} (${done.unit}) is at ${done.before} already; nothing was changed`);
    return;
  }
  printLine(
    `sequence ${sequence} (${done.unit}): the next nonce was at least ${done.before}, now at least ${done.after}`,
  );
  printLine('This cannot be undone.');
  const accounts = done.accounts.length > 0 ? done.accounts.join(', ') : 'none has used it since the daemon started';
  printLine(`Accounts that draw from it: ${accounts}`);
}

async function unitOf(name: string, socket: string | undefined): Promise<Unit> {
  const client = await connect({ name: 'nonced advance', socket });
  try {
    const { sequences } = await client.status();
    const sequence = sequences.find((candidate) => candidate.name === name);
    if (sequence !== undefined) return sequence.unit;
    throw new ExitError(
      EXIT.usage,
      `there is no sequence ${name}; there are: ${sequences.map((s) => s.name).join(', ')}`,
    );
  } finally {
    await client.close();
  }
}
