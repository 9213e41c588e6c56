import { asError } from '../../errors.ts';
import type { Ledger } from '../nonces/ledger.ts';
import type { NonceSequence } from '../nonces/nonce-sequence.ts';
import { type AccountNotes, type AccountNotesFound, type NotedAccount, UNCOUNTED } from '../ports.ts';
import { CallTally } from '../record/call-tally.ts';
import type { Account } from './account.ts';
import { Breaker } from './breaker.ts';
import { Exchange } from './exchange.ts';
import { LeakyBucket } from './pacing.ts';
import type { Pacing, Policies } from './policies.ts';

export interface AccountTableOptions {
  readonly limit: number;
  readonly ledger: Ledger;
  readonly policies: Policies;
  readonly notes: AccountNotes;
  /** What the previous daemon has noted. */
  readonly found: AccountNotesFound;
  readonly nowMs: number;
  /** Called when a note cannot be written: nothing may be granted any more. */
  readonly onFailed: (error: Error) => void;
}

/** How many of its former keys are remembered of an account. */
const FORMER_KEYS = 8;

/** What a fingerprint says that is new about an account. */
export type KeyClaim =
  /** The account had another key: an operator has replaced it, or a bot uses the wrong label. */
  { readonly kind: 'changed' } | { readonly kind: 'taken'; readonly by: Account };

/**
 * The accounts in use, as their policies make them. Idle ones are forgotten when room is needed. Nothing about nonces, pace
 * or breakers is lost by that.
 */
export class AccountTable {
  readonly #accounts = new Map<string, Account>();
  /** All of them, the one that was asked for last at the end. */
  readonly #byUse = new Set<Account>();
  #latest: Account | undefined;
  readonly #exchanges = new Map<string, Exchange>();
  readonly #byKey = new Map<string, Account>();
  /** The accounts with a note, so that a crash neither empties a bucket nor closes a breaker. */
  readonly #noted = new Set<Account>();
  readonly #limit: number;
  readonly #ledger: Ledger;
  readonly #notes: AccountNotes;
  readonly #onFailed: (error: Error) => void;
  readonly #startedAtMs: number;
  /** Whether an account without a note has used nothing. */
  readonly #isComplete: boolean;
  #policies: Policies;

  constructor({ limit, ledger, policies, notes, found, nowMs, onFailed }: AccountTableOptions) {
    this.#limit = limit;
    this.#ledger = ledger;
    this.#policies = policies;
    this.#notes = notes;
    this.#onFailed = onFailed;
    this.#startedAtMs = nowMs;
    this.#isComplete = found.complete;
    for (const noted of found.accounts) this.#noted.add(this.#make(noted.account, nowMs, noted));
  }

  get size(): number {
    return this.#accounts.size;
  }

  get policies(): Policies {
    return this.#policies;
  }

  values(): Iterable<Account> {
    return this.#accounts.values();
  }

  exchanges(): Iterable<Exchange> {
    return this.#exchanges.values();
  }

  get(name: string): Account | undefined {
    return this.#accounts.get(name);
  }

  /** Returns undefined if there is no room, because all accounts are busy. */
  getOrAdd(name: string, nowMs: number): Account | undefined {
    const account = this.#accounts.get(name) ?? this.#add(name, nowMs);
    if (account !== undefined && account !== this.#latest) this.#isUsed(account);
    return account;
  }

  /** Binds a key to an account. One key must not go under two labels, because its calls would overtake each other. */
  claim(account: Account, key: string): KeyClaim | undefined {
    if (account.key === key) return undefined;
    const owner = this.#byKey.get(key);
    if (owner !== undefined) return { kind: 'taken', by: owner };
    const before = account.key;
    account.key = key;
    this.#byKey.set(key, account);
    if (before === undefined) return undefined;
    this.#byKey.delete(before);
    // Two bots that use one label for two keys change it with every call. That is reported once, not with every call.
    const { formerKeys } = account;
    const hasRoom = formerKeys.length < FORMER_KEYS;
    if (hasRoom && !formerKeys.includes(before)) account.formerKeys = [...formerKeys, before];
    return hasRoom && !formerKeys.includes(key) ? { kind: 'changed' } : undefined;
  }

  /** Takes over that an operator has raised a sequence, which may be a new one of one account alone. */
  advanced(sequence: NonceSequence, nowMs: number): void {
    for (const account of this.#accounts.values()) {
      account.sequence = this.#ledger.sequenceOf(account.name, this.#policies.of(account.name));
      if (account.sequence === sequence) account.advancedAtMs = nowMs;
    }
  }

  /** Replaces the policies. What was used of a bucket stays used, and so does the cost of the calls `underWay`. */
  follow(policies: Policies, underWay: ReadonlyMap<Account, number>, nowMs: number): void {
    this.#policies = policies;
    for (const account of this.#accounts.values()) {
      const policy = policies.of(account.name);
      account.sequence = this.#ledger.sequenceOf(account.name, policy);
      account.enlisted = false;
      account.exchange = this.#exchange(policy.exchange);
      if (!samePacing(account.bucket?.pacing, policy.pacing)) {
        // Without pacing nothing was counted, and the exchange's own counter may be full.
        const counted = account.bucket?.level(nowMs) ?? Number.POSITIVE_INFINITY;
        const level = Math.min(counted, policy.pacing?.max ?? counted);
        account.bucket = policy.pacing && new LeakyBucket(policy.pacing, level, nowMs, underWay.get(account));
        this.note(account, nowMs);
      }
    }
  }

  /** Forgets an account of which nothing was ever granted, so that a label that was refused is not one. */
  dismiss(account: Account): void {
    const { nonces, waiting, leases, breaker } = account;
    if (
      nonces === 0 &&
      waiting === 0 &&
      leases === 0 &&
      breaker.isPristine &&
      this.#accounts.get(account.name) === account
    )
      this.#forget(account);
  }

  isNoted(account: Account): boolean {
    return this.#noted.has(account);
  }

  /** Notes what the account has used and the state of its breaker. */
  note(account: Account, nowMs: number): void {
    const { name, bucket, breaker } = account;
    this.#noting(() => {
      this.#noted.add(account);
      this.#notes.note({
        account: name,
        level: bucket?.level(nowMs) ?? UNCOUNTED,
        atMs: nowMs,
        breaker: breaker.noted(),
      });
    });
  }

  #isUsed(account: Account): void {
    this.#byUse.delete(account);
    this.#byUse.add(account);
    this.#latest = account;
  }

  #forget(account: Account): void {
    this.#accounts.delete(account.name);
    this.#byUse.delete(account);
    if (account.key !== undefined) this.#byKey.delete(account.key);
    this.#noting(() => {
      if (this.#noted.delete(account)) this.#notes.strike(account.name);
    });
  }

  #noting(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#onFailed(asError(error));
    }
  }

  #add(name: string, nowMs: number): Account | undefined {
    if (this.#accounts.size >= this.#limit && !this.#forgetOldest(nowMs)) return undefined;
    return this.#make(name, nowMs, undefined);
  }

  #make(name: string, nowMs: number, noted: NotedAccount | undefined): Account {
    const policy = this.#policies.of(name);
    const account: Account = {
      name,
      sequence: this.#ledger.sequenceOf(name, policy),
      enlisted: false,
      exchange: this.#exchange(policy.exchange),
      bucket: policy.pacing && this.#bucket(policy.pacing, noted, nowMs),
      breaker: new Breaker(noted?.breaker),
      paused: this.#ledger.isPaused(name),
      key: undefined,
      formerKeys: [],
      grants: 0,
      nonces: 0,
      waiting: 0,
      leases: 0,
      usedAtMs: nowMs,
      okAtMs: undefined,
      tally: new CallTally(),
      bare: undefined,
      refusedUnits: undefined,
      advancedAtMs: undefined,
    };
    this.#accounts.set(name, account);
    this.#byUse.add(account);
    return account;
  }

  #bucket(pacing: Pacing, noted: NotedAccount | undefined, nowMs: number): LeakyBucket {
    if (noted !== undefined && noted.level < UNCOUNTED) return new LeakyBucket(pacing, noted.level, noted.atMs);
    const isUnused = noted === undefined && this.#isComplete;
    return new LeakyBucket(pacing, isUnused ? 0 : pacing.max, isUnused ? nowMs : this.#startedAtMs);
  }

  #exchange(name: string): Exchange {
    const known = this.#exchanges.get(name);
    if (known !== undefined) return known;
    const exchange = new Exchange(name);
    this.#exchanges.set(name, exchange);
    return exchange;
  }

  /** Of the accounts that need not be remembered, forgets the one that has not been used for the longest time. */
  #forgetOldest(nowMs: number): boolean {
    let left = this.#byUse.size;
    for (const account of this.#byUse) {
      if (account.waiting === 0 && account.leases === 0 && isForgettable(account, nowMs)) {
        this.#forget(account);
        return true;
      }
      // Moved to the end, or the accounts that must stay would be looked at again each time.
      this.#isUsed(account);
      left -= 1;
      if (left === 0) return false;
    }
    return false;
  }
}

/** A closed breaker need not be remembered if its account has not been used for this long. */
const BREAKER_MEMORY_MS = 3_600_000;

/** Whether the account would be treated no worse if it were seen for the first time. */
function isForgettable({ bucket, breaker, usedAtMs }: Account, nowMs: number): boolean {
  const isDone = breaker.isPristine || (!breaker.isOpen && nowMs - usedAtMs > BREAKER_MEMORY_MS);
  return isDone && (bucket === undefined || bucket.level(nowMs) === 0);
}

function samePacing(a: Pacing | undefined, b: Pacing | undefined): boolean {
  return a?.max === b?.max && a?.perSecond === b?.perSecond;
}
