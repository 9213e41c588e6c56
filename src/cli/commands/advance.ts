import { adminSocket, askOnce } from '../../client/ask.ts';
import { connect } from '../../client/index.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { AdvanceResult, WhyResult } from '../../protocol/messages.ts';
import { NONCES_PER_SECOND, type Unit } from '../../terms.ts';
import { allowedLeadMs, printJson, printLine } from '../terminal/output.ts';

export interface AdvanceOptions {
  readonly to?: bigint | 'now';
  readonly by?: number;
  readonly sequence?: string;
  readonly account?: string;
  readonly yes: boolean;
  readonly force: boolean;
  readonly json: boolean;
  readonly socket?: string;
}

/** Raises a sequence of the running daemon, for ever. */
export async function advance(options: AdvanceOptions): Promise<void> {
  const { to, by, sequence, account, yes, force, json, socket } = options;
  if (to === undefined && by === undefined) {
    throw new ExitError(EXIT.usage, 'say how far: --to NONCE, --to now, or --by 5m');
  }
  if (account !== undefined && !yes && !force) await refuseUnknown(account, socket);
  const target = to === undefined ? { by: nonceSpan(by ?? 0, await unitOf(options)) } : { to };
  const done = await askOnce<AdvanceResult>(adminSocket(socket), 'advance', {
    ...(sequence === undefined ? {} : { sequence }),
    ...(account === undefined ? {} : { account }),
    ...target,
    maxLeadMs: allowedLeadMs(options),
  });
  if (json) {
    printJson(done);
    return;
  }
  if (BigInt(done.after) <= BigInt(done.before)) {
    printLine(`sequence ${done.sequence} (${done.unit}) is at ${done.before} already; nothing was changed`);
    return;
  }
  printLine(
    `sequence ${done.sequence} (${done.unit}): the next nonce was at least ${done.before}, now at least ${done.after}`,
  );
  printLine('This cannot be undone.');
  const accounts = done.accounts.length > 0 ? done.accounts.join(', ') : 'none has used it since the daemon started';
  printLine(`Accounts that draw from it: ${accounts}`);
}

/** A misspelt label would get a sequence of its own for ever, and there are only so many. */
async function refuseUnknown(account: string, socket: string | undefined): Promise<void> {
  const { isKnown } = await askOnce<WhyResult>(adminSocket(socket), 'why', { account });
  if (isKnown) return;
  throw new ExitError(
    EXIT.usage,
    `no account ${account} has drawn a nonce here; \`nonced status\` lists those that did. If the label is right: --yes`,
  );
}

/** The unit of the sequence that is to be raised, to make nonces of a time. */
async function unitOf({ sequence: asked, account, socket }: AdvanceOptions): Promise<Unit> {
  const client = await connect({ name: 'nonced advance', socket });
  try {
    const { sequences, accounts } = await client.status();
    // One that is not in use draws from the default, or the daemon knows better and refuses what does not fit.
    const name = asked ?? accounts.find((candidate) => candidate.account === account)?.sequence ?? 'default';
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

/** So many nonces as `unit` has in `ms`, at least one. Throws ExitError for a counter, which knows no time. */
function nonceSpan(ms: number, unit: Unit): bigint {
  if (unit === 'counter') throw new ExitError(EXIT.usage, 'a counter knows no time; give a nonce with --to');
  const span = (BigInt(ms) * NONCES_PER_SECOND[unit]) / 1000n;
  if (span >= 2n ** 64n)
    throw new ExitError(EXIT.usage, `so much time is ${span} nonces, more than there are; give less`);
  return span > 0n ? span : 1n;
}
