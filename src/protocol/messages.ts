import type { ErrorCode, Refusal } from '../errors.ts';
import type { ExclusionPolicy, LeaseEnd, Outcome, Priority, RevokeReason, Unit } from '../terms.ts';

/** The protocol's version, which `hello` returns. */
export const PROTOCOL = 1;

/** The size of a client's message, with its line end. */
export const MAX_MESSAGE_BYTES = 4096;
/** How many calls or events one answer lists. */
export const MAX_PAGE = 500;
/** The size of a request's id that is a string, in UTF-8. */
export const MAX_ID_BYTES = 64;

export type RequestId = number | string;

export function isRequestId(id: unknown): id is RequestId {
  if (typeof id === 'number') return Number.isSafeInteger(id);
  return typeof id === 'string' && id.length <= MAX_ID_BYTES && Buffer.byteLength(id) <= MAX_ID_BYTES;
}

/** A request of which every field has been checked. What was left out has its default. */
export type Request =
  | {
      readonly method: 'hello';
      readonly name: string | undefined;
      readonly pid: number | undefined;
      /** 32 hex digits, lower case. */
      readonly session: string | undefined;
    }
  | { readonly method: 'nonce'; readonly account: string; readonly count: number }
  | AcquireRequest
  | {
      readonly method: 'next';
      readonly token: number;
      /** Undefined for the lease's own account. */
      readonly account: string | undefined;
      readonly key: string | undefined;
      readonly unit: Unit | undefined;
      readonly cost: number;
      readonly count: number;
    }
  | { readonly method: 'renew'; readonly token: number; readonly ttlMs: number | undefined }
  | {
      readonly method: 'release';
      readonly token: number;
      readonly outcome: Outcome;
      readonly usedOwnClock: boolean;
    }
  | { readonly method: 'report'; readonly token: number; readonly nonce: bigint; readonly outcome: Outcome }
  | { readonly method: 'cancel'; readonly id: RequestId }
  | { readonly method: 'refuse'; readonly expected: string }
  | { readonly method: 'policy' }
  | { readonly method: 'status' }
  | { readonly method: 'why'; readonly account: string }
  | { readonly method: 'metrics' }
  | {
      readonly method: 'calls';
      /** A serial number: lists the calls that ended after it, the earliest first. Undefined for the last ones. */
      readonly after: number | undefined;
      readonly limit: number;
      readonly account: string | undefined;
    }
  | { readonly method: 'events'; readonly after: number | undefined; readonly limit: number }
  | { readonly method: 'refusals'; readonly after: number | undefined; readonly limit: number }
  | AdvanceRequest
  | { readonly method: 'pause'; readonly account: string }
  | { readonly method: 'resume-account'; readonly account: string }
  | { readonly method: 'set-exclusive'; readonly policy: ExclusionPolicy }
  /** Lets only urgent calls begin, or all calls again. */
  | { readonly method: 'drain'; readonly draining: boolean };

export interface AcquireRequest {
  readonly method: 'acquire';
  readonly account: string;
  /** The fingerprint of the public API key: 16 hex digits, lower case. */
  readonly key: string | undefined;
  readonly unit: Unit | undefined;
  readonly priority: Priority;
  readonly cost: number;
  /** Undefined for the default of the priority. */
  readonly ttlMs: number | undefined;
  readonly waitMs: number | undefined;
  readonly label: string | undefined;
  readonly count: number;
  /** Tokens of leases that this program holds around the request: it would never be granted their lanes. */
  readonly within: readonly number[];
}

export interface AdvanceRequest {
  readonly method: 'advance';
  /** Undefined for that of the account, or else the default one. */
  readonly sequence: string | undefined;
  /** The account gets a sequence of its own first, so that the accounts that now share its sequence are not raised. */
  readonly account: string | undefined;
  /** The next nonce is at least `nonce`; or `nonces` above the last one; or the wall clock, accepted as it is. */
  readonly target:
    | { readonly kind: 'to'; readonly nonce: bigint }
    | { readonly kind: 'by'; readonly nonces: bigint }
    | { readonly kind: 'now' };
  /** Refused if the sequence would end up further ahead of the wall clock. */
  readonly maxLeadMs: number;
}

/** A message that came in, before its method and fields are checked. */
export type Message =
  | { readonly kind: 'request'; readonly id: RequestId; readonly method: string; readonly params: unknown }
  | { readonly kind: 'notification'; readonly method: string; readonly params: unknown }
  | { readonly kind: 'answer'; readonly id: RequestId; readonly result: unknown }
  | { readonly kind: 'error'; readonly id: RequestId; readonly error: WireError }
  /** A whole message that makes no sense. It is answered, and the connection stays open. */
  | { readonly kind: 'malformed'; readonly id: RequestId | undefined; readonly refusal: Refusal };

export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly sent: false;
  readonly retryAfterMs?: number;
}

/** One of the two encodings. Nonces and tokens are bigint on this side; JSON writes them as decimal strings. */
export interface Codec {
  readonly encoding: 'msgpack' | 'json';
  /** Decodes one whole message as the scanner found it. Never throws. */
  decode(frame: Uint8Array): Message;
  request(id: RequestId, method: string, params: object): Uint8Array;
  notification(method: string, params: object): Uint8Array;
  answer(id: RequestId, result: object): Uint8Array;
  /** `id` is undefined if the request's own could not be read (JSON-RPC: null; MessagePack-RPC: 0). */
  refusal(id: RequestId | undefined, refusal: Refusal): Uint8Array;
}

export interface HelloResult {
  readonly protocol: number;
  /** Which later fields the daemon knows: see minor.ts. The first release did not tell it. */
  readonly minor: number;
  readonly version: string;
  readonly instance: string;
  readonly epoch: number;
  readonly exclusive: ExclusionPolicy;
  readonly limits: {
    readonly messageBytes: number;
    readonly waiting: number;
    readonly count: number;
    readonly ttlMs: number;
    readonly waitMs: number;
  };
  readonly held: readonly HeldLease[];
}

export interface HeldLease {
  readonly token: bigint;
  readonly account: string;
  /** The id of its `acquire`; null if it was too long to be noted. */
  readonly id: RequestId | null;
  readonly ttlMs: number;
}

export interface NonceResult {
  /** The first of `count` consecutive nonces. */
  readonly nonce: bigint;
  readonly count: number;
}

export interface GrantResult extends NonceResult {
  readonly token: bigint;
  readonly ttlMs: number;
  readonly waitedMs: number;
}

export interface RenewResult {
  readonly ttlMs: number;
}

export interface ReleaseResult {
  /** True the first time, then false. */
  readonly released: boolean;
}

export interface ReportResult {
  /** False if the lease has no such call, or its outcome has been told. */
  readonly reported: boolean;
}

export interface RevokedNotification {
  readonly token: bigint;
  readonly reason: RevokeReason;
}

/**
 * Before and after a change by an operator: nonces for `advance`, policies for `set-exclusive`, `running` or `paused`.
 */
export interface ChangeResult {
  readonly before: bigint | string;
  readonly after: bigint | string;
}

export interface PauseResult extends ChangeResult {
  /** Whether the account has ever drawn. If not, its label may be misspelt. */
  readonly isKnown: boolean;
}

export interface AdvanceResult extends ChangeResult {
  readonly sequence: string;
  readonly unit: Unit;
  /** The accounts that are known to draw from the sequence, at most 100. */
  readonly accounts: readonly string[];
}

export interface PolicyResult {
  readonly exclusive: ExclusionPolicy;
}

/** Ages and durations are in milliseconds. Lists name at most 100 of a kind; `totals` counts all. */
export interface StatusResult {
  readonly version: string;
  readonly instance: string;
  readonly pid: number;
  readonly epoch: number;
  readonly uptimeMs: number;
  readonly exclusive: ExclusionPolicy;
  readonly totals: {
    readonly connections: number;
    readonly accounts: number;
    readonly leases: number;
    readonly waiting: number;
    readonly grants: number;
    readonly nonces: number;
    /** Nonces a second since this daemon started. */
    readonly noncesPerSecond: number;
  };
  readonly sequences: readonly SequenceStatus[];
  /** How many accounts the state names, and can name. `full`: no new account gets a name. Missing before 0.2. */
  readonly register?: {
    readonly named: number;
    readonly max: number;
    readonly state: 'roomy' | 'filling' | 'full';
  };
  /** Accounts that an operator has paused, in use or not. */
  readonly paused: readonly string[];
  /**
   * How long only urgent calls have been let through, because an operator drains the daemon; null if it is not drained.
   */
  readonly drainingForMs: number | null;
  /** Why the configuration that was read last is not in effect; null if it is. */
  readonly configurationProblem: string | null;
  readonly exchanges: readonly {
    readonly exchange: string;
    /** How long it has counted as down; null while it answers. */
    readonly downForMs: number | null;
    /** The processes that alone get no answer, and since when they are held back. Missing before 0.2. */
    readonly heldBack?: readonly {
      readonly name: string | null;
      readonly pid: number | null;
      readonly forMs: number;
    }[];
  }[];
  readonly accounts: readonly AccountStatus[];
  readonly lanes: readonly LaneStatus[];
  /**
   * The series of refusals that have gone on within the last ten minutes, the latest first. A daemon before 0.2 leaves
   * this out.
   */
  readonly refusals?: readonly RefusalsStatus[];
  /**
   * The clients that stay away because they knew another instance, the one that has for longest first. A daemon before 0.2
   * leaves this out.
   */
  readonly refusingClients?: readonly {
    readonly name: string | null;
    readonly pid: number | null;
    /** The instance that it knew. */
    readonly expected: string;
    readonly forMs: number;
  }[];
  readonly durability: {
    /** `slow`: a write has been under way for over a second; calls go on below the durable ceiling. */
    readonly state: 'durable' | 'slow' | 'retrying';
    /** Why the last write failed, while it is retried. */
    readonly problem: string | null;
    readonly writes: number;
  };
  readonly clock: {
    /** `not-followed`: the wall clock jumped ahead, and the sequences go on by the time since boot. */
    readonly state: 'followed' | 'not-followed' | 'behind';
    /** How far the wall clock is from where it should be by the time since boot. */
    readonly offMs: number;
  };
}

/** Requests of one account that ended without a nonce or lease with the same code. */
export interface RefusalsStatus {
  /** Null for all accounts that are not told apart, and for requests that named none. */
  readonly account: string | null;
  /** A code of the protocol; DISCONNECTED if the client went away while it waited. */
  readonly code: string;
  readonly count: number;
  /** From the first of them to the last. */
  readonly forMs: number;
  /** How long ago the last of them was. */
  readonly agoMs: number;
  readonly longestWaitMs: number;
  /** What the last of them named, and what asked. */
  readonly lastAccount: string | null;
  readonly holder: string | null;
  readonly pid: number | null;
  readonly label: string | null;
}

export interface SequenceStatus {
  readonly name: string;
  readonly unit: Unit;
  readonly last: bigint;
  readonly ceiling: bigint;
  /** How far the last nonce is ahead of the clock; negative if behind, null for a counter. */
  readonly leadMs: number | null;
  readonly issued: number;
}

export interface AccountStatus {
  readonly account: string;
  readonly exchange: string;
  readonly sequence: string;
  readonly grants: number;
  readonly nonces: number;
  readonly waiting: number;
  readonly idleMs: number;
  /** How long ago a call of it was last reported as accepted; null if none was since the daemon started. */
  readonly okAgoMs: number | null;
  /** How many of its nonces were reported as rejected: since the daemon started, and in a row. */
  readonly rejected: number;
  readonly rejectedInARow: number;
  /** How many of its calls in a row were released without an outcome, up to now. A daemon before 0.2 leaves this out. */
  readonly silentInARow?: number;
  /** To within five minutes. */
  readonly rejectedLastHour: number;
  /** How many of its calls outlasted their leases since the daemon started. */
  readonly expired: number;
  readonly paused: boolean;
  /** Why only probes are let through, and when the next one may come; null while calls are. */
  readonly breaker: { readonly openFor: 'invalid-nonce' | 'locked-out'; readonly probeInMs: number } | null;
  /** Null for an account without pacing. `nextFreeMs` is how long until a call that costs 1 may begin. */
  readonly pace: {
    readonly level: number;
    readonly max: number;
    readonly perSecond: number;
    readonly nextFreeMs: number;
  } | null;
}

export interface LaneStatus {
  readonly lane: string;
  readonly holders: readonly {
    readonly account: string;
    readonly name: string | null;
    readonly pid: number | null;
    readonly label: string | null;
    readonly priority: Priority;
    /** Null for a call that was granted before a restart of the daemon. */
    readonly nonce: bigint | null;
    readonly waitedMs: number;
    readonly heldMs: number;
    readonly leftMs: number;
  }[];
  readonly waiting: number;
  readonly oldestWaitMs: number;
  /** The first waiter of each account and priority, the one that has waited longest first. */
  readonly waiters: readonly {
    readonly account: string;
    readonly name: string | null;
    readonly pid: number | null;
    readonly label: string | null;
    readonly priority: Priority;
    readonly waitedMs: number;
    /** It waits for its account's pace or first write, and not for the lane. */
    readonly paced: boolean;
  }[];
}

/** A call that has ended, never with its token. */
export interface WhyCall {
  readonly account: string;
  readonly holder: string | null;
  readonly pid: number | null;
  readonly label: string | null;
  readonly priority: Priority;
  /** Null for a call that was granted before a restart of the daemon. */
  readonly nonce: bigint | null;
  /** The last nonce drawn under its lease. */
  readonly lastNonce: bigint | null;
  readonly waitedMs: number;
  readonly heldMs: number;
  readonly agoMs: number;
  readonly ended: LeaseEnd;
  readonly outcome: Outcome;
  /** The outcome came after the lease had ended. */
  readonly late: boolean;
}

/** From where to read on. */
export interface PageResult {
  /** Give it as `after` to get what comes next. */
  readonly after: number;
  /** How many came after the number that was asked for and were forgotten before they were read. */
  readonly missed: number;
}

/** A call that has ended; `serial` counts all calls since the daemon started. */
export interface EndedCallRecord extends WhyCall {
  readonly serial: number;
  readonly lane: string;
  /** The lane had one call at a time. */
  readonly exclusive: boolean;
}

/** The earliest first. The daemon remembers the last 1,000 calls. */
export interface CallsResult extends PageResult {
  readonly calls: readonly EndedCallRecord[];
}

/** Something that an operator should know of. */
export interface EventRecord {
  readonly serial: number;
  readonly kind: string;
  readonly severity: 'error' | 'warn' | 'info' | 'debug';
  /** The account, exchange or sequence that it is about. */
  readonly subject: string | null;
  readonly text: string;
  readonly agoMs: number;
}

/** The earliest first. The daemon remembers the last 500 events. */
export interface EventsResult extends PageResult {
  readonly events: readonly EventRecord[];
}

/** What was refused within one second, by account and code. */
export interface RefusalsRecord extends RefusalsStatus {
  readonly serial: number;
}

/** The earliest first. The daemon remembers the last 2,000. */
export interface RefusalsResult extends PageResult {
  readonly refusals: readonly RefusalsRecord[];
}

/** `counts` has one element more than `boundsMs`, for what was longer than the last bound. It is not cumulative. */
export interface HistogramResult {
  readonly counts: readonly number[];
  readonly sumMs: number;
}

/** Counts since the daemon started. `outcomes` and `endings` leave out what is 0. */
export interface AccountMetrics {
  readonly account: string;
  readonly exchange: string;
  readonly grants: number;
  readonly nonces: number;
  readonly waiting: number;
  readonly held: number;
  readonly outcomes: Partial<Readonly<Record<Outcome, number>>>;
  readonly endings: Partial<Readonly<Record<WhyCall['ended'], number>>>;
  readonly paused: boolean;
  readonly quarantined: boolean;
  readonly pace: { readonly level: number; readonly max: number } | null;
}

/** What a program counts. `accounts` lists all that are in use, at most a thousand; `status` lists a hundred. */
export interface MetricsResult {
  readonly boundsMs: readonly number[];
  /** How long the calls that have ended had waited, and how long they lasted. */
  readonly waits: HistogramResult;
  readonly holds: HistogramResult;
  /** Writes of the state that became durable, and how many failed. */
  readonly writes: HistogramResult & { readonly failures: number };
  /** How long the longest waiter of all lanes has waited; 0 if none waits. */
  readonly oldestWaitMs: number;
  readonly refusals: readonly { readonly code: string; readonly count: number }[];
  readonly accounts: readonly AccountMetrics[];
  readonly status: StatusResult;
}

export interface WhyResult {
  readonly account: string;
  readonly exclusive: ExclusionPolicy;
  readonly unit: Unit;
  /** How far its sequence is ahead of the clock; null for a counter. */
  readonly leadMs: number | null;
  /** How many of its calls are under way. */
  readonly held: number;
  /** How often programs asked for another unit since the daemon started, and which one was last; null if none did. */
  readonly refusedUnits: { readonly count: number; readonly unit: Unit } | null;
  readonly paused: boolean;
  /** Whether it has ever drawn a nonce here. */
  readonly isKnown: boolean;
  /** As in `status`, with what the client was told last. A daemon before 0.2 leaves this out. */
  readonly refusals?: readonly (RefusalsStatus & { readonly text: string })[];
  /** As in `status`; null for an account that is not in use. */
  readonly status: AccountStatus | null;
  /** Its last calls, the latest first, at most 100. */
  readonly calls: readonly WhyCall[];
  /** The latest call whose nonce was rejected, and the one that was granted before it in its lane. */
  readonly rejected: { readonly call: WhyCall; readonly before: WhyCall | null } | null;
  readonly verdict: {
    readonly kind:
      | 'none'
      | 'late'
      | 'out-of-order'
      | 'one-program'
      | 'foreign-use'
      | 'ahead-of-clock'
      | 'ahead'
      | 'unit';
    readonly sure: 'certain' | 'likely' | 'possible';
    /** For a person: the fact. */
    readonly text: string;
    /** What to do about it, in this order; with `Or` if there may be another cause. */
    readonly fixes: readonly string[];
  };
}
