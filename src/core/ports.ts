import type { Refusal } from '../errors.ts';
import type { ExclusionPolicy, LeaseEnd, Outcome, Priority, RevokeReason, Unit } from '../terms.ts';

declare const nonceBrand: unique symbol;
declare const tokenBrand: unique symbol;

/** A nonce in the unit of its sequence. */
export type Nonce = bigint & { readonly [nonceBrand]: true };

/** A lease's fencing token: an integer below 2^53 that only ever grows (I5). */
export type Token = number & { readonly [tokenBrand]: true };

/** A request's id on its connection, as the client chose it. */
export type RequestId = number | string;

export interface Grant {
  readonly nonce: Nonce;
  readonly count: number;
  readonly token: Token;
  readonly ttlMs: number;
  readonly waitedMs: number;
}

/**
 * What the broker tells a client's connection. Called synchronously, at most once for each request id, and must not
 * call back into the broker.
 */
export interface Peer {
  granted(id: RequestId, grant: Grant): void;
  drawn(id: RequestId, nonce: Nonce, count: number): void;
  refused(id: RequestId, refusal: Refusal): void;
  revoked(token: Token, reason: RevokeReason): void;
}

/** Where the wall clock and the time since boot stood at one moment of one boot. */
export interface BootAnchor {
  readonly bootId: string;
  readonly wallMs: number;
  readonly uptimeMs: number;
}

export interface DurableSequence {
  readonly unit: Unit;
  /** No nonce at or above it was ever handed out. */
  readonly ceiling: bigint;
  /** The highest nonce that may be handed out. */
  readonly max: bigint;
}

/** What is durable of an account. */
export interface DurableAccount {
  /** Name of the sequence it has drawn from, undefined where it never has: it is never led to lower nonces (I2). */
  readonly sequence: string | undefined;
  /** An operator has stopped it. */
  readonly paused: boolean;
}

/** The part of the state file that the core owns. */
export interface DurableState {
  readonly sequences: Readonly<Record<string, DurableSequence>>;
  /** By name, every account that has drawn or is paused; `*` stands for all that are too many to be named. */
  readonly accounts: ReadonlyMap<string, DurableAccount>;
  readonly exclusive: ExclusionPolicy;
  /** Undefined until a plausible wall clock has been seen in this boot. */
  readonly anchor: BootAnchor | undefined;
  /** The latest wall time that was believed. */
  readonly seenWallMs: number;
}

/** Why a write of the state failed. */
export type StoreFailure =
  /** Disk or table full, read-only, out of descriptors or memory: it may pass, the old state is intact. */
  | { readonly kind: 'retriable'; readonly error: Error }
  /** Anything else, a failed sync above all: nothing more may be granted. `error` carries the exit code. */
  | { readonly kind: 'fatal'; readonly error: Error };

export interface StateStore {
  /**
   * Makes `state` durable: file synced, renamed, directory synced. Answers undefined once it is, or why it is not.
   * Never rejects. The caller keeps to one call at a time.
   */
  write(state: DurableState): Promise<StoreFailure | undefined>;
}

/** A lease as it is noted outside the process, so that the next daemon of this boot finds it. */
export interface NotedLease {
  readonly account: string;
  readonly token: Token;
  readonly priority: Priority;
  readonly ttlMs: number;
  /** On CLOCK_MONOTONIC. */
  readonly expiresAtMs: number;
  /** SHA-256 of the client's session, cut to 16 bytes as hex; undefined where the client told none. */
  readonly sessionHash: string | undefined;
  /** Id of the `acquire` that was granted; undefined where it was too long to be noted. */
  readonly requestId: RequestId | undefined;
}

/** One small unsynced write each; they throw when the note cannot be kept, and then nothing may be granted. */
export interface LeaseNotes {
  /** How many leases can be noted at once. */
  readonly capacity: number;
  /** Notes a lease before its grant is sent, or a renewal. The same token overwrites its own note. */
  note(lease: NotedLease): void;
  /** Strikes the note of a lease that has ended; unknown tokens are ignored. */
  strike(token: Token): void;
}

/** How an account's circuit breaker stands, as it is noted. Times on CLOCK_MONOTONIC. */
export interface NotedBreaker {
  /** Why it is open; undefined while it is closed. */
  readonly openFor: 'invalid-nonce' | 'locked-out' | undefined;
  readonly openedAtMs: number;
  /** When the next probe, and the next urgent call, are let through. */
  readonly probeAtMs: number;
  readonly urgentAtMs: number;
  /** How long after that probe the one after it is. */
  readonly probeEveryMs: number;
  /** Rejected nonces in a row. */
  readonly inARow: number;
  /** The last calls, the latest in the lowest bit: 1 for a rejected nonce. 20 bits. */
  readonly recent: number;
}

/** The level of a bucket that nobody has counted: the account was used without pacing. */
export const UNCOUNTED = Number.MAX_SAFE_INTEGER;

/** What is noted of an account outside the process, so that a crash neither empties its bucket nor closes its breaker. */
export interface NotedAccount {
  readonly account: string;
  /** What was in the bucket at `atMs`, on CLOCK_MONOTONIC; UNCOUNTED without pacing. */
  readonly level: number;
  readonly atMs: number;
  readonly breaker: NotedBreaker;
}

/** One small unsynced write each; `note` throws when the note cannot be kept, and then nothing may be granted. */
export interface AccountNotes {
  readonly capacity: number;
  /** The same account overwrites its own note. */
  note(account: NotedAccount): void;
  /** Strikes the note of an account that need not be remembered; unknown ones are ignored. */
  strike(account: string): void;
}

export interface AccountNotesFound {
  readonly accounts: readonly NotedAccount[];
  /**
   * The notes are of this boot and whole: an account that is not in them has used nothing. Otherwise (a reboot, a first
   * start, damage) nobody knows what was used, and every bucket counts as full.
   */
  readonly complete: boolean;
}

/** What the notes of the daemon before this one say. */
export interface NotesFound {
  readonly leases: readonly NotedLease[];
  /** A note could not be read: any lane may be held. */
  readonly damaged: boolean;
}

/** Something that an operator should know of. */
export type BrokerEvent =
  /** A write of the state failed and is being retried: the first failure of a series. */
  | { readonly kind: 'write-failed'; readonly error: Error }
  | { readonly kind: 'write-recovered' }
  | {
      readonly kind: 'clock-changed';
      readonly state: 'followed' | 'not-followed' | 'behind';
      readonly offMs: number;
    }
  /** A sequence has come to be over a minute ahead of the clock. */
  | { readonly kind: 'ahead'; readonly sequence: string; readonly leadMs: number }
  /** A bot reports that the exchange has rejected a nonce. `before` held the lane before it. */
  | { readonly kind: 'rejected'; readonly call: ObservedCall; readonly before: ObservedCall | undefined }
  | { readonly kind: 'breaker-changed'; readonly account: string; readonly openFor: NotedBreaker['openFor'] }
  | { readonly kind: 'exchange-changed'; readonly exchange: string; readonly isDown: boolean }
  /** An account that was known by another API key. */
  | { readonly kind: 'key-changed'; readonly account: string }
  // What an operator has changed.
  | { readonly kind: 'paused'; readonly account: string }
  | { readonly kind: 'resumed'; readonly account: string }
  | { readonly kind: 'exclusion-changed'; readonly before: ExclusionPolicy; readonly after: ExclusionPolicy }
  | { readonly kind: 'advanced'; readonly sequence: string; readonly before: bigint; readonly after: bigint }
  | { readonly kind: 'configured' }
  | { readonly kind: 'drain-changed'; readonly isDraining: boolean }
  /** A new configuration was not taken over; the old one holds. */
  | { readonly kind: 'configuration-refused'; readonly problem: string }
  /** The broker is open. */
  | { readonly kind: 'started' };

/** Who hears what happens in the broker; called synchronously, and must not call back into it. */
export interface Observer {
  observe(event: BrokerEvent): void;
  /** Nothing more is granted; the process ends with `error`. */
  failed(error: Error): void;
  /** `count` consecutive nonces from that of the call on. Left out where nobody wants to hear of every call. */
  granted?(call: ObservedCall, count: number): void;
  /** Bare nonces, or further ones under a lease, `count` from `nonce` on. Left out as well. */
  drawn?(account: string, nonce: Nonce, count: number): void;
  /** A call has ended, or its outcome was told `late`, after its end. Left out where nobody wants to hear of every call. */
  ended?(call: ObservedEnd): void;
}

/** How a call ended. `lane` is what was exclusive, where anything was; times are in milliseconds. */
export interface ObservedEnd extends ObservedCall {
  readonly lane: string;
  readonly exclusive: boolean;
  /** The last nonce drawn under the lease. */
  readonly lastNonce: Nonce | undefined;
  readonly priority: Priority;
  readonly waitedMs: number;
  readonly grantedAtMs: number;
  readonly endedAtMs: number;
  readonly ended: LeaseEnd;
  readonly outcome: Outcome;
  readonly late: boolean;
}

/** A call as a log names it. */
export interface ObservedCall {
  readonly account: string;
  /** What its client calls itself. */
  readonly holder: string | undefined;
  readonly pid: number | undefined;
  readonly label: string | undefined;
  /** Undefined for one from before a restart. */
  readonly nonce: Nonce | undefined;
}
