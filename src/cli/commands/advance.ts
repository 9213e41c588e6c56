import { adminSocket, askOnce } from '../../client/ask.ts';
import { connect } from '../../client/index.ts';
import { EXIT, ExitError } from '../../errors.ts';
import type { AdvanceResult, WhyResult } from '../../protocol/messages.ts';
import { NONCES_PER_SECOND, type Unit } from '../../terms.ts';
import { allowedLeadMs } from '../terminal/output.ts';
import type { Terminal } from '../terminal/terminal.ts';

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

/** Raises a sequence of the running daemon for good. */
export async function advance(options: AdvanceOptions, terminal: Terminal): Promise<void> {
  const { to, by, sequence, account, yes, force, json, socket } = options;
  if (to === undefined && by === undefined) {
    throw new ExitError(EXIT.usage, 'give how far to raise it: --to NONCE, --to now, or --by 5m');
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
    terminal.printJson(done);
    return;
  }
  if (BigInt(done.after) <= BigInt(done.before)) {
    terminal.printLine(`sequence ${done.sequence} (${done.unit}) is already at ${done.before}; nothing was changed`);
    return;
  }
  terminal.printLine(
    `sequence ${done.sequence} (${done.unit}): the next nonce was at least ${done.before}, now it is at least ${done.after}`,
  );
  terminal.printLine('This cannot be undone.');
  const accounts = done.accounts.length > 0 ? done.accounts.join(', ') : 'none since the daemon started';
  terminal.printLine(`Accounts that draw from it: ${accounts}`);
}

/**
 * Throws ExitError for a label that is probably misspelt: it would get its own sequence for good, and there is a limit.
 */
async function refuseUnknown(account: string, socket: string | undefined): Promise<void> {
  const { isKnown } = await askOnce<WhyResult>(adminSocket(socket), 'why', { account });
  if (isKnown) return;
  throw new ExitError(
    EXIT.usage,
    `account ${account} has never drawn a nonce here; \`nonced status\` lists those that did. If the label is right, add --yes`,
  );
}

/** Returns the unit of the sequence to raise. */
async function unitOf({ sequence: asked, account, socket }: AdvanceOptions): Promise<Unit> {
  const client = await connect({ name: 'nonced advance', socket });
  try {
    const { sequences, accounts } = await client.status();
    // An account that is not in use draws from the default. If not, the daemon knows, and refuses what does not fit.
    const name = asked ?? accounts.find((candidate) => candidate.account === account)?.sequence ?? 'default';
    const sequence = sequences.find((candidate) => candidate.name === name);
    if (sequence !== undefined) return sequence.unit;
    throw new ExitError(
      EXIT.usage,
      `there is no sequence ${name}; choose one of: ${sequences.map((s) => s.name).join(', ')}`,
    );
  } finally {
    await client.close();
  }
}

/** Returns how many nonces `unit` has in `ms`, at least one. Throws ExitError for a counter, which has no time. */
function nonceSpan(ms: number, unit: Unit): bigint {
  if (unit === 'counter') throw new ExitError(EXIT.usage, 'a counter has no time; give a nonce with --to');
  const span = (BigInt(ms) * NONCES_PER_SECOND[unit]) / 1000n;
  if (span >= 2n ** 64n) throw new ExitError(EXIT.usage, `that is ${span} nonces, more than there are; give less time`);
  return span > 0n ? span : 1n;
}
