import type { Timer } from '../../clock.ts';
import { NoncedError, type Refusal } from '../../errors.ts';
import type { ExclusiveOptions } from '../api.ts';
import { type Bounds, Request } from '../calls/request.ts';
import { readNonce, readTtlMs } from '../connection/answers.ts';
import { type Lease, type LeaseWatcher, leaseLost } from './lease.ts';
import type { Session } from './session.ts';

/** A request under a lease. It ends with the lease, and with it the lease if the daemon says so. */
export class LeaseRequest<T> extends Request<T> implements LeaseWatcher {
  readonly #session: Session;
  readonly #lease: Lease;
  readonly #params: (nowMs: number) => object;
  readonly #read: (result: unknown, sentAtMs: number) => T | NoncedError | undefined;
  #rest: Timer | undefined;

  /** `read` returns undefined for a result that makes no sense, and an error to reject with for one that came too late. */
  constructor(
    method: string,
    session: Session,
    lease: Lease,
    params: (nowMs: number) => object,
    read: (result: unknown, sentAtMs: number) => T | NoncedError | undefined,
  ) {
    super(method);
    this.#session = session;
    this.#lease = lease;
    this.#params = params;
    this.#read = read;
  }

  override begin(bounds: Bounds, over: Parameters<Request<T>['begin']>[1]): Promise<T> {
    const answer = super.begin(bounds, over);
    if (!this.wanted) return answer;
    const { ended } = this.#lease;
    if (ended === undefined) this.#lease.watch(this);
    else this.fail(ended);
    return answer;
  }

  override params(nowMs: number): object {
    return this.#params(nowMs);
  }

  override accept(result: unknown): boolean {
    const value = this.#read(result, this.sentAtMs ?? 0);
    if (value instanceof NoncedError) this.fail(value);
    else if (value !== undefined) this.succeed(value);
    return value !== undefined;
  }

  override refuse(cause: Refusal): void {
    const { code, retryAfterMs } = cause;
    if (code === 'LEASE_LOST') {
      // The daemon knows better: what still counts as ours is not, and a call under it may be on its way.
      const error = leaseLost(cause.message);
      this.#session.lost(this.#lease, error);
      this.fail(error);
    } else if (code === 'PACED' && retryAfterMs !== undefined && this.wanted && this.#lease.hasTime(retryAfterMs)) {
      this.#rest = this.#session.clock.after(retryAfterMs, () => this.#session.send(this));
    } else {
      super.refuse(cause);
    }
  }

  /** Called by the lease. */
  leaseOver(error: NoncedError): void {
    this.leave(error);
  }

  protected override ended(): void {
    this.#rest?.cancel();
    this.#lease.unwatch(this);
  }
}

/** What `next` tells the daemon, besides the token. */
export type NextParams = Pick<ExclusiveOptions, 'account' | 'key' | 'unit' | 'cost' | 'count'>;

/** Returns a request for a further nonce. While the account is paced it asks again, if the lease lasts that long. */
export function nextNonce(
  session: Session,
  lease: Lease,
  { account, key, unit, cost, count }: NextParams,
): LeaseRequest<bigint> {
  const params = { token: lease.token, account, key, unit, cost, count };
  return new LeaseRequest(
    'next',
    session,
    lease,
    () => params,
    (result) => {
      const drawn = readNonce(result);
      if (drawn === undefined) return undefined;
      // Looked at again: the answer may have been read late, before the timer that would have told so.
      if (lease.hasTime()) return drawn.nonce;
      return lease.ended ?? leaseLost('the lease ended before its nonce was read; ask for a longer ttlMs');
    },
  );
}

/** Makes a lease last `ttlMs` from when it is asked; undefined: as long as it was last granted or renewed for. */
export function renew(session: Session, lease: Lease, ttlMs: number | undefined): Promise<number> {
  let isSent = false;
  const request = new LeaseRequest(
    'renew',
    session,
    lease,
    (nowMs) => {
      if (!isSent) lease.renewalSent();
      isSent = true;
      // Only for what the daemon will accept: a refused renewal changes nothing.
      if (Number.isInteger(ttlMs) && Number(ttlMs) > 0) lease.mayEndAt(nowMs + Number(ttlMs));
      return { token: lease.token, ttlMs };
    },
    (result, sentAtMs) => {
      const granted = readTtlMs(result);
      if (granted !== undefined) lease.renewalAnswered();
      // From when it was sent, for the daemon cannot have processed it earlier.
      if (granted !== undefined) lease.extend(sentAtMs + granted, granted);
      return granted;
    },
  );
  return session.ask(request, { giveUpAtMs: undefined, signal: undefined });
}

/** Renews a lease by itself, each time half of its time is over, until `untilMs` on the monotonic clock. */
export function keepRenewed(session: Session, lease: Lease, untilMs: number): void {
  lease.renewUntil(untilMs, (ttlMs) => {
    // Whatever it comes to shows in the lease.
    renew(session, lease, ttlMs).catch(() => {});
  });
}
