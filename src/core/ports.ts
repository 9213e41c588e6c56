import type { ErrorCode, Refusal } from '../errors.ts';
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
  /** No nonce at or above it has ever been handed out. */
  readonly ceiling: bigint;
  /** The highest nonce that may be handed out. */
  readonly max: bigint;
}

/**
 * Why an account draws from its sequence although a configuration may say another one. `kept`: an operator has moved it
 * there, or it had stayed there before configurations stopped moving accounts. `unknown`: an earlier version wrote the
 * state, and the first start of this one decides.
 */
export type Placed = 'kept' | 'unknown';

/** What is durable of an account. */
export interface DurableAccount {
  /** The sequence that it has drawn from, so that it is never led to lower nonces (I2); undefined if it never has. */
  readonly sequence: string | undefined;
  /** An operator has paused it. */
  readonly paused: boolean;
  /** Left out if the configuration puts it on its sequence. */
  readonly placed?: Placed | undefined;
}

/** The part of the state file that the core owns. */
export interface DurableState {
  readonly sequences: Readonly<Record<string, DurableSequence>>;
  /** Every account that has drawn or is paused, by name. `*` stands for those that are too many to be named. */
  readonly accounts: ReadonlyMap<string, DurableAccount>;
  readonly exclusive: ExclusionPolicy;
  /** Undefined until a plausible wall clock has been seen in this boot. */
  readonly anchor: BootAnchor | undefined;
  /** The latest wall time that was believed. */
  readonly seenWallMs: number;
}

/** Why a write of the state failed. */
export type StoreFailure =
  /** No space, a read-only disk, no descriptors, no memory. It may pass, and the old state is intact. */
  | { readonly kind: 'retriable'; readonly error: Error }
  /** Anything else, above all a failed sync: nothing more may be granted. `error` carries the exit code. */
  | { readonly kind: 'fatal'; readonly error: Error };

export interface StateStore {
  /**
   * Makes `state` durable: file synced, renamed, directory synced. Returns undefined once it is, or why it is not. Never
   * rejects. The caller makes one call at a time.
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
  /** SHA-256 of the client's session, cut to 16 bytes, as hex; undefined if the client gave none. */
  readonly sessionHash: string | undefined;
  /** Id of the `acquire` that was granted; undefined if it was too long to be noted. */
  readonly requestId: RequestId | undefined;
  // What only `why` and `status` want to know. Undefined if it was too long to be noted, or noted by an older version.
  readonly nonces: { readonly first: Nonce; readonly last: Nonce } | undefined;
  readonly label: string | undefined;
}

/** Each call is one small unsynced write. It throws if the note cannot be written; then nothing may be granted. */
export interface LeaseNotes {
  /** How many leases can be noted at once. */
  readonly capacity: number;
  /** Notes a lease before its grant is sent, or a renewal. The same token overwrites its own note. */
  note(lease: NotedLease): void;
  /** Removes the note of a lease that has ended. Unknown tokens are ignored. */
  strike(token: Token): void;
}

/** The state of an account's circuit breaker, as it is noted. Times are on CLOCK_MONOTONIC. */
export interface NotedBreaker {
  /** Why it is open; undefined while it is closed. */
  readonly openFor: 'invalid-nonce' | 'locked-out' | undefined;
  readonly openedAtMs: number;
  /** When the next probe, and the next urgent call, are let through. */
  readonly probeAtMs: number;
  readonly urgentAtMs: number;
  /** How long after that probe the following one is let through. */
  readonly probeEveryMs: number;
  /** Rejected nonces in a row. */
  readonly inARow: number;
  /** The last calls, the latest in the lowest bit: 1 for a rejected nonce. 20 bits. */
  readonly recent: number;
}

/** The level of a bucket that was not counted, because the account was used without pacing. */
export const UNCOUNTED = Number.MAX_SAFE_INTEGER;

/** What is noted of an account outside the process, so that a crash neither empties its bucket nor closes its breaker. */
export interface NotedAccount {
  readonly account: string;
  /** What was in the bucket at `atMs`, on CLOCK_MONOTONIC; UNCOUNTED without pacing. */
  readonly level: number;
  readonly atMs: number;
  readonly breaker: NotedBreaker;
}

/** Each call is one small unsynced write. `note` throws if the note cannot be written; then nothing may be granted. */
export interface AccountNotes {
  readonly capacity: number;
  /** The same account overwrites its own note. */
  note(account: NotedAccount): void;
  /** Removes the note of an account that need not be remembered. Unknown accounts are ignored. */
  strike(account: string): void;
}

export interface AccountNotesFound {
  readonly accounts: readonly NotedAccount[];
  /**
   * The notes are of this boot and whole: an account that is not in them has used nothing. Otherwise (a reboot, a first
   * start, damage) it is not known what was used, and every bucket counts as full.
   */
  readonly complete: boolean;
}

/** What the notes of the previous daemon say. */
export interface NotesFound {
  readonly leases: readonly NotedLease[];
  /** A note could not be read, or is missing: any lane may be held. */
  readonly damaged: boolean;
  /** Those whose holders do not know where this daemon is, so they cannot come back. None if left out. */
  readonly stranded?: ReadonlySet<Token>;
}

/** Something that an operator should know about. */
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
  /** The state has come to name so many accounts that there is little room for others, or none. */
  | { readonly kind: 'register-filled'; readonly named: number; readonly isFull: boolean }
  /** A bot reports that the exchange has rejected a nonce. `before` held the lane before it. */
  | { readonly kind: 'rejected'; readonly call: ObservedCall; readonly before: ObservedCall | undefined }
  | { readonly kind: 'breaker-changed'; readonly account: string; readonly openFor: NotedBreaker['openFor'] }
  | { readonly kind: 'exchange-changed'; readonly exchange: string; readonly isDown: boolean }
  /** One process alone gets no answer from the exchange and is held back, or gets answers again. */
  | {
      readonly kind: 'caller-changed';
      readonly exchange: string;
      readonly holder: string | undefined;
      readonly pid: number | undefined;
      readonly isHeldBack: boolean;
    }
  /** A client knew another instance and stays away. */
  | {
      readonly kind: 'instance-refused';
      readonly holder: string | undefined;
      readonly pid: number | undefined;
      readonly expected: string;
    }
  /** The account was known by another API key. */
  | { readonly kind: 'key-changed'; readonly account: string }
  // What an operator has changed.
  | { readonly kind: 'paused'; readonly account: string }
  | { readonly kind: 'resumed'; readonly account: string }
  | { readonly kind: 'exclusion-changed'; readonly before: ExclusionPolicy; readonly after: ExclusionPolicy }
  | { readonly kind: 'advanced'; readonly sequence: string; readonly before: bigint; readonly after: bigint }
  | { readonly kind: 'configured' }
  | { readonly kind: 'drain-changed'; readonly isDraining: boolean }
  /** A new configuration was refused. The old one stays in effect. */
  | { readonly kind: 'configuration-refused'; readonly problem: string }
  /** The broker is open. */
  | { readonly kind: 'started' };

/** Is told what happens in the broker. Called synchronously, and must not call back into it. */
export interface Observer {
  observe(event: BrokerEvent): void;
  /** Nothing more is granted; the process ends with `error`. */
  failed(error: Error): void;
  /** A lease was granted, with `count` consecutive nonces from that of the call on. May be left out. */
  granted?(call: ObservedCall, count: number): void;
  /** Bare nonces, or further ones under a lease, were drawn: `count` from `nonce` on. May be left out. */
  drawn?(account: string, nonce: Nonce, count: number): void;
  /** A call has ended, or its outcome was told `late`, after its end. May be left out. */
  ended?(call: ObservedEnd): void;
  /** A request has ended without a nonce or lease, one of a series. May be left out. */
  refused?(refusal: ObservedRefusal, series: RefusalSeries): void;
}

/** How a call ended. `lane` is what was exclusive, if anything was. Times are in milliseconds. */
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

/**
 * A request for a nonce or a lease that ended without one: it was refused, or cancelled by its client, or its client went
 * away while it waited (DISCONNECTED).
 */
export interface ObservedRefusal {
  /** Undefined if the request named none. */
  readonly account: string | undefined;
  /** Whether the state knows the account. */
  readonly isKnown: boolean;
  readonly code: ErrorCode | 'DISCONNECTED';
  /** What the client was told, or would have been. */
  readonly text: string;
  readonly holder: string | undefined;
  readonly pid: number | undefined;
  readonly label: string | undefined;
  /** 0 if it was refused at once. */
  readonly waitedMs: number;
}

/** The refusals of one account with one code, with no long pause between them. Times are on the monotonic clock. */
export interface RefusalSeries {
  /** Undefined for all accounts that are not told apart, and for requests that named none. */
  readonly account: string | undefined;
  readonly count: number;
  /** How many of them had waited for over five seconds. */
  readonly longWaits: number;
  readonly sinceMs: number;
  readonly lastAtMs: number;
}

/** A call as a log names it. */
export interface ObservedCall {
  readonly account: string;
  /** What its client calls itself. */
  readonly holder: string | undefined;
  readonly pid: number | undefined;
  readonly label: string | undefined;
  /** Undefined if the lease was granted before a restart. */
  readonly nonce: Nonce | undefined;
}
