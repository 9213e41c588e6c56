import { MANY_ACCOUNTS, MAX_ACCOUNTS } from '../../terms.ts';
import type { DurableAccount, Placed } from '../ports.ts';

/** The sequence of every account that is assigned to no other one. */
export const DEFAULT_SEQUENCE = 'default';
/** How the name begins of a sequence of one account alone, which an operator has advanced by itself. */
const OWN_PREFIX = 'account:';

/** Returns the name of the sequence that only this account draws from. */
export function ownSequenceOf(account: string): string {
  return `${OWN_PREFIX}${account}`;
}

/** Whether an operator has made the sequence for one account alone. No configuration can name it. */
export function isOwnSequence(name: string): boolean {
  return name.startsWith(OWN_PREFIX);
}

/** Stands for all accounts of the default sequence that the state does not name. */
export const UNNAMED = '*';

/** What changes about an account. */
export interface AccountChange {
  readonly sequence?: string;
  readonly paused?: boolean;
  readonly placed?: Placed | undefined;
}

/** How many accounts the state names. `filling`: four fifths of the room are used. `full`: no other account gets a name. */
export interface Register {
  readonly named: number;
  readonly state: 'roomy' | 'filling' | 'full';
}

const NO_CHANGES: ReadonlyMap<string, AccountChange> = new Map();

/**
 * Which sequence each account has drawn from, and which accounts are paused. Both are durable, so that no edit of the
 * configuration and no restart leads an account to lower nonces (I2) or ends a pause.
 */
export class Assignments {
  #accounts: ReadonlyMap<string, DurableAccount>;
  /** Accounts that are about to draw for the first time, and from which sequence. The next write includes them. */
  readonly #newcomers = new Map<string, AccountChange>();

  constructor(accounts: ReadonlyMap<string, DurableAccount>) {
    this.#accounts = accounts;
  }

  /** What is durable. */
  get accounts(): ReadonlyMap<string, DurableAccount> {
    return this.#accounts;
  }

  /** Whether accounts have drawn that the state does not name. An account that it does not know may be one of them. */
  get isCrowded(): boolean {
    return this.#accounts.has(UNNAMED);
  }

  /** Returns how many accounts the state names, and whether that is for the operator to see. */
  get register(): Register {
    const named = this.#accounts.size - (this.isCrowded ? 1 : 0);
    // I2: as long as some are not told apart, no new account gets a name, however much room there is.
    if (this.isCrowded || named >= MAX_ACCOUNTS) return { named, state: 'full' };
    return { named, state: named >= MANY_ACCOUNTS ? 'filling' : 'roomy' };
  }

  get hasNewcomers(): boolean {
    return this.#newcomers.size > 0;
  }

  /** Returns the sequence that the account has drawn from, as far as the state names the account. */
  sequenceOf(account: string): string | undefined {
    return this.#accounts.get(account)?.sequence;
  }

  /** Whether it is durable that the account draws from `sequence`. */
  allows(account: string, sequence: string): boolean {
    const durable = this.sequenceOf(account);
    // An account that is not named may have drawn from the default sequence, and its key never takes fewer digits again.
    return durable === undefined ? this.#accounts.get(UNNAMED)?.sequence === sequence : durable === sequence;
  }

  isPaused(account: string): boolean {
    return this.#accounts.get(account)?.paused ?? false;
  }

  /** Lets the account draw from `sequence` once the next write of the state is durable. Returns false if there is no room. */
  enlist(account: string, sequence: string): boolean {
    const isFull = this.#accounts.size + this.#newcomers.size >= MAX_ACCOUNTS && !this.#accounts.has(account);
    const hasRoom = this.#newcomers.has(account) || !(isFull || this.isCrowded);
    // I2: without a name of its own, it draws where the other unnamed accounts have drawn.
    if (!hasRoom && sequence !== (this.#accounts.get(UNNAMED)?.sequence ?? DEFAULT_SEQUENCE)) return false;
    this.#newcomers.set(hasRoom ? account : UNNAMED, { sequence });
    return true;
  }

  /** Forgets what was asked for under other policies: it must be asked for again. */
  forgetNewcomers(): void {
    this.#newcomers.clear();
  }

  /** Returns what the next write makes durable: all that is durable now, the newcomers and `changes`. */
  draft(changes: ReadonlyMap<string, AccountChange> = NO_CHANGES): ReadonlyMap<string, DurableAccount> {
    if (this.#newcomers.size === 0 && changes.size === 0) return this.#accounts;
    const draft = new Map(this.#accounts);
    for (const [account, change] of [...this.#newcomers, ...changes]) {
      draft.set(account, { sequence: undefined, paused: false, ...draft.get(account), ...change });
    }
    return draft;
  }

  /** Takes over a `draft` that has become durable. */
  adopt(draft: ReadonlyMap<string, DurableAccount>): void {
    this.#accounts = draft;
    for (const account of this.#newcomers.keys()) {
      if (draft.get(account)?.sequence !== undefined) this.#newcomers.delete(account);
    }
  }
}
