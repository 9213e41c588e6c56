import type { Broker } from '../../core/broker.ts';
import { describeUnit } from '../../core/nonces/sequence-clock.ts';
import { formatDuration } from '../../durations.ts';

type Status = ReturnType<Broker['status']>;

/** Returns the units of the sequences and the exclusion policy, in words. */
export function termsOf({ sequences, exclusive }: Status): string {
  const units = sequences.map(({ name, unit }) => `${name} in ${describeUnit(unit)}`);
  return `sequence ${units.join(', ')}; exclusion ${exclusive}`;
}

/** Returns the line that `systemctl status` shows. */
export function summaryOf({ totals, sequences, durability, exclusive }: Status): string {
  const leads = sequences.map(({ name, leadMs }) => (leadMs === null ? name : `${name} ${leadText(leadMs)}`));
  const trouble = durability.state === 'durable' ? '' : `; CANNOT WRITE THE STATE: ${durability.problem}`;
  return (
    `${totals.accounts} accounts, ${totals.leases} held, ${totals.waiting} waiting, ${totals.grants} granted, ` +
    `exclusion ${exclusive}; last nonce: ${leads.join(', ')}${trouble}`
  );
}

function leadText(leadMs: number): string {
  return leadMs > 0 ? `${formatDuration(leadMs)} ahead of the clock` : `${formatDuration(-leadMs)} ago`;
}
