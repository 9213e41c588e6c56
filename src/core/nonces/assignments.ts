import { MAX_ACCOUNTS } from '../../terms.ts';
import type { DurableAccount } from '../ports.ts';

/** The sequence of every account that is assigned to no other. */
export const DEFAULT_SEQUENCE = 'default';
/** What begins so belongs to one account, which an operator has advanced by itself. */
const OWN_PREFIX = 'account:';

/** The name of the sequence that an account alone draws from. */
export function ownSequenceOf(account: string): string {
  return `${OWN_PREFIX}${account}`;
}

/** Stands for the accounts on the default sequence that are not told apart. */
export const EVERYBODY = '*';

/** What changes of an account. */
export interface AccountChange {
  readonly sequence?: string;
  readonly paused?: boolean;
}

const NO_CHANGES: ReadonlyMap<string, AccountChange> = new Map();

/**
 * Which account has drawn from which sequence, and which are paused: durable, so that no edit of the configuration and
 * no restart leads an account to lower nonces (I2) or lifts a pause.
 */
export class Assignments {
  #accounts: ReadonlyMap<string, DurableAccount>;
  /** Accounts that are about to draw for the first time, and from where: written along with the next state. */
  readonly #newcomers = new Map<string, AccountChange>();

  constructor(accounts: ReadonlyMap<string, DurableAccount>) {
    this.#accounts = accounts;
  }

  /** What is durable. */
  get accounts(): ReadonlyMap<string, DurableAccount> {
    return this.#accounts;
  }

  /** Whether some accounts are not told apart: whoever is not known may be one of them. */
  get isCrowded(): boolean {
    return this.#accounts.has(EVERYBODY);
  }

  get hasNewcomers(): boolean {
    return this.#newcomers.size > 0;
  }

  /** The sequence that the account has durably drawn from; undefined for one that is not told apart. */
  sequenceOf(account: string): string | undefined {
    return this.#accounts.get(account)?.sequence;
  }

  /** Whether the account may draw from `sequence`: that it does is durable. */
  allows(account: string, sequence: string): boolean {
    const durable = this.sequenceOf(account);
    // One that is not told apart may have drawn from the default, and its key never takes fewer digits again.
    return durable === undefined ? this.#accounts.get(EVERYBODY)?.sequence === sequence : durable === sequence;
  }

  isPaused(account: string): boolean {
    return this.#accounts.get(account)?.paused ?? false;
  }

  /** Lets the account draw from `sequence` once the next write of the state is durable. False where there is no room. */
  enlist(account: string, sequence: string): boolean {
    const isFull = this.#accounts.size + this.#newcomers.size >= MAX_ACCOUNTS && !this.#accounts.has(account);
    const hasRoom = this.#newcomers.has(account) || !(isFull || this.isCrowded);
    // Whoever is not told apart goes on where those have drawn (I2).
    if (!hasRoom && sequence !== (this.#accounts.get(EVERYBODY)?.sequence ?? DEFAULT_SEQUENCE)) return false;
    this.#newcomers.set(hasRoom ? account : EVERYBODY, { sequence });
    return true;
  }

  /** What was asked for under other policies must be asked for anew. */
  forgetNewcomers(): void {
    this.#newcomers.clear();
  }

  /** What is to be durable by the next write: all that is, with the newcomers and `changes`. */
  draft(changes: ReadonlyMap<string, AccountChange> = NO_CHANGES): ReadonlyMap<string, DurableAccount> {
    if (this.#newcomers.size === 0 && changes.size === 0) return this.#accounts;
    const draft = new Map(this.#accounts);
    for (const [account, change] of [...this.#newcomers, ...changes]) {
      draft.set(account, { sequence: undefined, paused: false, ...draft.get(account), ...change });
    }
    return draft;
  }

  /** `draft` is durable. */
  adopt(draft: ReadonlyMap<string, DurableAccount>): void {
    this.#accounts = draft;
    for (const account of this.#newcomers.keys()) {
      if (draft.get(account)?.sequence !== undefined) this.#newcomers.delete(account);
    }
  }
}
