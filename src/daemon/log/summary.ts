import type { Broker } from '../../core/broker.ts';
import { describeUnit } from '../../core/nonces/sequence-clock.ts';

type Status = ReturnType<Broker['status']>;

/** What it hands out and what is exclusive, in words. */
export function termsOf({ sequences, exclusive }: Status): string {
  const units = sequences.map(({ name, unit }) => `${name} in ${describeUnit(unit)}`);
  return `sequence ${units.join(', ')}; exclusion ${exclusive}`;
}

/** In one line, for a person. */
export function summaryOf({ totals, sequences, durability, exclusive }: Status): string {
  const leads = sequences.map(({ name, leadMs }) => (leadMs === null ? name : `${name} ${leadText(leadMs)}`));
  const trouble = durability.state === 'durable' ? '' : `; CANNOT WRITE THE STATE: ${durability.problem}`;
  return (
    `${totals.accounts} accounts, ${totals.leases} held, ${totals.waiting} waiting, ${totals.grants} granted, ` +
    `exclusion ${exclusive}; last nonce: ${leads.join(', ')}${trouble}`
  );
}

function leadText(leadMs: number): string {
  const seconds = Math.abs(leadMs / 1000).toFixed(1);
  return leadMs > 0 ? `${seconds} s ahead of the clock` : `${seconds} s ago`;
}
