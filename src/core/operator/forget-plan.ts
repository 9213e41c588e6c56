import { isOwnSequence, UNNAMED } from '../nonces/assignments.ts';
import type { DurableAccount, DurableState } from '../ports.ts';

/** What forgetting accounts comes to. */
export interface Forgetting {
  readonly forgotten: readonly string[];
  /** Accounts that are meant too, and must stay, and why. */
  readonly staying: readonly { readonly account: string; readonly why: string }[];
  /** With which the next daemon starts. */
  readonly state: DurableState;
}

/**
 * Returns what remains without the accounts that `pattern` means: one by its name, or all that begin like `order-*`. I2: an
 * account is forgotten only if it would go on in the same sequence, which never goes back. As long as there are accounts
 * without a name, no other gets one: `unnamedToo` forgets these as well.
 */
export function planForget(state: DurableState, pattern: string, unnamedToo = false): Forgetting {
  const isNamed = pattern.endsWith('*')
    ? (account: string) => account.startsWith(pattern.slice(0, -1))
    : (account: string) => account === pattern;
  const isMeant = (account: string) => (account === UNNAMED ? unnamedToo : isNamed(account));
  const accounts = new Map<string, DurableAccount>();
  const forgotten: string[] = [];
  const staying: { account: string; why: string }[] = [];
  for (const [account, durable] of state.accounts) {
    const why = isMeant(account) ? whyItStays(durable) : undefined;
    if (isMeant(account) && why === undefined) {
      forgotten.push(account);
      continue;
    }
    accounts.set(account, durable);
    if (why !== undefined) staying.push({ account, why });
  }
  return { forgotten, staying, state: { ...state, accounts } };
}

function whyItStays({ sequence, paused, placed }: DurableAccount): string | undefined {
  if (paused) return 'it is paused, and would not be any more';
  if (sequence === undefined || isOwnSequence(sequence) || placed === undefined) return undefined;
  return placed === 'kept'
    ? `it was placed on sequence ${sequence}, and would draw where the configuration says`
    : 'an earlier version wrote the state; start this version once';
}
