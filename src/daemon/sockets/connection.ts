import { createHash } from 'node:crypto';
import type { Clock, Timer } from '../../clock.ts';
import type { Broker } from '../../core/broker.ts';
import type { Client } from '../../core/leases/lease.ts';
import type { Grant, Nonce, Peer, RequestId, Token } from '../../core/ports.ts';
import { type ErrorCode, type Refusal, refusal } from '../../errors.ts';
import { jsonRpc } from '../../protocol/json-rpc.ts';
import { BrokenStream, MessageScanner } from '../../protocol/message-scanner.ts';
import {
  type AdvanceResult,
  type CallsResult,
  type ChangeResult,
  type Codec,
  type EventsResult,
  type GrantResult,
  type HelloResult,
  MAX_MESSAGE_BYTES,
  type MetricsResult,
  type NonceResult,
  type PauseResult,
  type PolicyResult,
  PROTOCOL,
  type RefusalsResult,
  type ReleaseResult,
  type RenewResult,
  type ReportResult,
  type Request,
  type RevokedNotification,
  type StatusResult,
  type WhyResult,
} from '../../protocol/messages.ts';
import { MINOR } from '../../protocol/minor.ts';
import { msgpackRpc } from '../../protocol/msgpack-rpc.ts';
import { checkRequest, isRefusal } from '../../protocol/request-check.ts';
import { MAX_COUNT, MAX_TTL_MS, MAX_WAIT_MS, type RevokeReason } from '../../terms.ts';
import type { Outbox } from './outbox.ts';

/** Answers go to the wire once there are this many bytes, or at the end of the turn. */
const FLUSH_BYTES = 65_536;
/** While a client leaves more bytes unread than this, nothing more is read of it, so its answers cannot fill the memory. */
const MAX_UNREAD_BYTES = 262_144;
/** A client that takes none of them for so long is cut off. One that is only busy reads on sooner. */
const DEAF_AFTER_MS = 10_000;

const NOTHING = new Uint8Array(0);

/** The bytes of one connection: a socket, or a simulated one. */
export interface Wire {
  write(bytes: Uint8Array): void;
  /** How many bytes were written and not taken by the other side. */
  readonly unsentBytes: number;
  /** Closes the connection once everything that was written has been taken. */
  end(): void;
  destroy(): void;
  /** Reads no more of the other side until `resume`. */
  pause(): void;
  resume(): void;
}

/** What all connections know of the daemon around them. */
export interface Surroundings {
  readonly broker: Broker;
  readonly waitingPerClient: number;
  readonly version: string;
  readonly instance: string;
  readonly pid: number;
  readonly epoch: number;
  /** All connections that are open. */
  readonly connections: ReadonlySet<unknown>;
  /** How many requests have been refused, by code. */
  readonly refusals: Map<ErrorCode, number>;
  readonly outbox: Outbox;
  readonly clock: Clock;
}

/** Methods for operators, accepted on their own socket only. */
const ADMIN_METHODS: ReadonlySet<Request['method']> = new Set([
  'advance',
  'pause',
  'resume-account',
  'set-exclusive',
  'drain',
]);

/** One client's connection: bytes in, checked requests to the broker, answers out as bytes. */
export class Connection implements Peer {
  readonly role: 'bot' | 'admin';
  readonly #wire: Wire;
  readonly #around: Surroundings;
  readonly #scanner = new MessageScanner({ maxBytes: MAX_MESSAGE_BYTES });
  readonly #client: Client;
  #codec: Codec = jsonRpc;
  #output: Uint8Array[] = [];
  #outputBytes = 0;
  /** Set while nothing is read of the client because it reads none of its answers. */
  #held: { unsentBytes: number; timer: Timer; isEnded: boolean } | undefined;
  /** `followed`: the client has said hello, and then used the daemon. */
  #hello: 'awaited' | 'said' | 'followed' = 'awaited';
  /** How many operators' requests wait for a write of the state. */
  #changing = 0;
  #phase: 'open' | 'half-closed' | 'closed' = 'open';
  #usedAtMs: number;

  constructor(wire: Wire, role: 'bot' | 'admin', around: Surroundings) {
    this.#wire = wire;
    this.role = role;
    this.#around = around;
    this.#usedAtMs = around.clock.monotonicMs();
    this.#client = around.broker.connect(this);
  }

  /** Returns since when this connection holds nothing, waits for nothing and has no answer under way; undefined if not. */
  get idleSinceMs(): number | undefined {
    const { waiting, leases } = this.#client;
    const isAnswering = this.#changing > 0 || this.#outputBytes > 0 || this.#wire.unsentBytes > 0;
    return leases.size > 0 || waiting.size > 0 || isAnswering ? undefined : this.#usedAtMs;
  }

  /** Takes in bytes, which may be cut anywhere. */
  receive(chunk: Uint8Array): void {
    if (this.#phase !== 'open') return;
    this.#usedAtMs = this.#around.clock.monotonicMs();
    try {
      this.#scanner.push(chunk);
      this.#readOn();
    } catch (error) {
      if (!(error instanceof BrokenStream)) throw error;
      if (this.#scanner.encoding === 'msgpack') this.#codec = msgpackRpc;
      this.#refuseHere(undefined, error.refusal);
      this.#close();
    }
  }

  /** Takes in that the client has read everything that was written. */
  drained(): void {
    if (this.#held === undefined || this.#phase === 'closed') return;
    const { timer, isEnded } = this.#held;
    timer.cancel();
    this.#held = undefined;
    this.#wire.resume();
    this.receive(NOTHING);
    if (isEnded) this.receiveEnd();
  }

  #readOn(): void {
    while (this.#held === undefined) {
      if (this.#wire.unsentBytes > MAX_UNREAD_BYTES) {
        this.#hold();
        return;
      }
      const frame = this.#scanner.next();
      if (frame === undefined) return;
      this.#codec = this.#scanner.encoding === 'msgpack' ? msgpackRpc : jsonRpc;
      this.#handle(frame);
      if (this.#outputBytes >= FLUSH_BYTES) this.flush();
      // Looked at again: a request may have ended the connection, and what follows it is not read.
      if (this.#phase !== 'open') return;
    }
  }

  /** Reads no more of the client until it has read its answers. */
  #hold(): void {
    this.#wire.pause();
    this.#held = { unsentBytes: this.#wire.unsentBytes, timer: this.#watch(), isEnded: false };
  }

  #watch(): Timer {
    return this.#around.clock.after(DEAF_AFTER_MS, () => {
      const held = this.#held;
      if (held === undefined) return;
      const { unsentBytes } = this.#wire;
      if (unsentBytes >= held.unsentBytes) {
        this.cutOff();
        return;
      }
      held.unsentBytes = unsentBytes;
      held.timer = this.#watch();
    });
  }

  /** Takes in that the client says nothing more; it may still listen. */
  receiveEnd(): void {
    if (this.#phase !== 'open') return;
    if (this.#held !== undefined) {
      this.#held.isEnded = true;
      return;
    }
    const frame = this.#scanner.end();
    if (frame !== undefined) this.#handle(frame);
    if (this.#phase !== 'open') return;
    this.#phase = 'half-closed';
    this.#around.broker.abandon(this.#client);
    this.#around.outbox.add(this);
  }

  /** Takes in that the connection is gone, closed by either side. */
  closed(): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#held?.timer.cancel();
    this.#held = undefined;
    this.#around.broker.disconnect(this.#client);
  }

  /** Closes the connection at once. What was not taken of it is lost. */
  cutOff(): void {
    this.closed();
    this.#wire.destroy();
  }

  /** Hands the collected answers to the wire. */
  flush(): void {
    const output = this.#output;
    const [first] = output;
    if (first !== undefined) {
      const bytes = this.#outputBytes;
      this.#output = [];
      this.#outputBytes = 0;
      this.#usedAtMs = this.#around.clock.monotonicMs();
      this.#wire.write(output.length === 1 ? first : Buffer.concat(output, bytes));
    }
    if (this.#phase === 'closed') return;
    if (this.#phase === 'half-closed' && this.#changing === 0 && this.#client.waiting.size === 0) {
      this.#close();
    }
  }

  granted(id: RequestId, { nonce, count, token, ttlMs, waitedMs }: Grant): void {
    this.#answer<GrantResult>(id, { nonce, count, token: BigInt(token), ttlMs, waitedMs: Math.round(waitedMs) });
  }

  drawn(id: RequestId, nonce: Nonce, count: number): void {
    this.#answer<NonceResult>(id, { nonce, count });
  }

  refused(id: RequestId, refusal: Refusal): void {
    this.#refuse(id, refusal);
  }

  revoked(token: Token, reason: RevokeReason): void {
    const revoked: RevokedNotification = { token: BigInt(token), reason };
    this.#send(this.#codec.notification('revoked', revoked));
  }

  #handle(frame: Uint8Array): void {
    const message = this.#codec.decode(frame);
    switch (message.kind) {
      case 'request': {
        const request = checkRequest(message.method, message.params);
        if (isRefusal(request)) this.#refuseHere(message.id, request);
        else this.#ask(message.id, request);
        break;
      }
      case 'notification': {
        const request = checkRequest(message.method, message.params);
        // A notification has no answer, so only what needs none is done.
        if (!isRefusal(request)) this.#tell(request);
        break;
      }
      case 'malformed':
        this.#refuseHere(message.id, message.refusal);
        break;
      case 'answer':
      case 'error':
        this.#refuseHere(undefined, refusal('BAD_REQUEST', 'an answer came, but the daemon asked nothing'));
        break;
    }
  }

  #tell(request: Request): void {
    const { broker, instance } = this.#around;
    if (request.method === 'release') {
      broker.release(this.#client, request.token as Token, request.outcome, request.usedOwnClock);
    } else if (request.method === 'report') {
      broker.report(this.#client, request.token as Token, request.nonce, request.outcome);
    } else if (request.method === 'cancel') {
      broker.cancel(this.#client, request.id);
    } else if (request.method === 'refuse' && this.#hello !== 'awaited' && request.expected !== instance) {
      broker.refusedBy(this.#client, request.expected);
    }
  }

  #ask(id: RequestId, request: Request): void {
    const { broker } = this.#around;
    const client = this.#client;
    if (ADMIN_METHODS.has(request.method) && this.role !== 'admin') {
      this.#refuseHere(id, refusal('FORBIDDEN', `${request.method} is for operators only; ask on admin.sock`));
      return;
    }
    if (this.#hello === 'said') {
      // Not at its hello: only the answer to that tells the client which instance this is.
      this.#hello = 'followed';
      broker.acceptedBy(client);
    }
    switch (request.method) {
      case 'hello':
        this.#greet(id, request);
        break;
      case 'nonce':
        broker.nonce(client, id, request.account, request.count);
        break;
      case 'acquire':
        broker.acquire(client, id, request);
        break;
      case 'next':
        broker.next(client, id, { ...request, token: request.token as Token });
        break;
      case 'renew': {
        const renewed = broker.renew(client, request.token as Token, request.ttlMs);
        if (typeof renewed === 'number') this.#answer<RenewResult>(id, { ttlMs: renewed });
        else this.#refuseHere(id, renewed);
        break;
      }
      case 'release':
        this.#answer<ReleaseResult>(id, {
          released: broker.release(client, request.token as Token, request.outcome, request.usedOwnClock),
        });
        break;
      case 'report':
        this.#answer<ReportResult>(id, {
          reported: broker.report(client, request.token as Token, request.nonce, request.outcome),
        });
        break;
      case 'cancel':
      case 'refuse':
        this.#refuseHere(
          id,
          refusal('BAD_REQUEST', `${request.method} is a notification; send it without an id of its own`),
        );
        break;
      case 'policy':
        this.#answer<PolicyResult>(id, { exclusive: broker.exclusive });
        break;
      case 'status':
        this.#answer<StatusResult>(id, this.#status());
        break;
      case 'why':
        this.#answer<WhyResult>(id, broker.why(request.account));
        break;
      case 'metrics':
        this.#answer<MetricsResult>(id, {
          ...broker.metrics(),
          refusals: [...this.#around.refusals].map(([code, count]) => ({ code, count })),
          status: this.#status(),
        });
        break;
      case 'calls':
        this.#answer<CallsResult>(id, broker.calls(request));
        break;
      case 'events':
        this.#answer<EventsResult>(id, broker.events(request));
        break;
      case 'refusals':
        this.#answer<RefusalsResult>(id, broker.refusals(request));
        break;
      case 'drain':
        this.#answer<ChangeResult>(id, broker.setDraining(request.draining));
        break;
      case 'advance':
        this.#change<AdvanceResult>(id, broker.advance(request));
        break;
      case 'pause':
        this.#change<PauseResult>(id, broker.setPaused(request.account, true));
        break;
      case 'resume-account':
        this.#change<PauseResult>(id, broker.setPaused(request.account, false));
        break;
      case 'set-exclusive':
        this.#change<ChangeResult>(id, broker.setExclusive(request.policy));
        break;
    }
  }

  #greet(id: RequestId, { name, pid, session }: Request & { method: 'hello' }): void {
    const { broker, version, instance, epoch, waitingPerClient } = this.#around;
    if (this.#hello !== 'awaited') {
      this.#refuseHere(
        id,
        refusal('BAD_REQUEST', 'hello was said already; open another connection for another session'),
      );
      return;
    }
    this.#hello = 'said';
    const held = broker.hello(this.#client, name, pid, session === undefined ? undefined : sessionHash(session));
    this.#answer<HelloResult>(id, {
      protocol: PROTOCOL,
      minor: MINOR,
      version,
      instance,
      epoch,
      exclusive: broker.exclusive,
      limits: {
        messageBytes: MAX_MESSAGE_BYTES,
        waiting: waitingPerClient,
        count: MAX_COUNT,
        ttlMs: MAX_TTL_MS,
        waitMs: MAX_WAIT_MS,
      },
      held: held.map(({ token, account, requestId, ttlMs }) => ({
        token: BigInt(token),
        account,
        id: requestId ?? null,
        ttlMs,
      })),
    });
  }

  #status(): StatusResult {
    const { broker, version, instance, pid, epoch } = this.#around;
    const status = broker.status();
    return {
      version,
      instance,
      pid,
      epoch,
      ...status,
      totals: { connections: this.#around.connections.size, ...status.totals },
    };
  }

  #change<R extends object>(id: RequestId, change: Promise<R | Refusal>): void {
    this.#changing += 1;
    change.then((done) => {
      this.#changing -= 1;
      if ('code' in done) this.refused(id, done as Refusal);
      else this.#answer<R>(id, done);
    });
  }

  #answer<R extends object>(id: RequestId, result: R): void {
    this.#send(this.#codec.answer(id, result));
  }

  /** Refuses what did not get to an account. */
  #refuseHere(id: RequestId | undefined, refusal: Refusal): void {
    this.#around.broker.traceRefusal(this.#client, refusal);
    this.#refuse(id, refusal);
  }

  #refuse(id: RequestId | undefined, refusal: Refusal): void {
    const { refusals } = this.#around;
    refusals.set(refusal.code, (refusals.get(refusal.code) ?? 0) + 1);
    this.#send(this.#codec.refusal(id, refusal));
  }

  #send(bytes: Uint8Array): void {
    if (this.#phase === 'closed') return;
    if (this.#outputBytes === 0) this.#around.outbox.add(this);
    this.#output.push(bytes);
    this.#outputBytes += bytes.length;
  }

  /** Ends the connection from our side. What was answered is still delivered. */
  #close(): void {
    this.closed();
    this.flush();
    this.#wire.end();
  }
}

/**
 * Returns 16 bytes of the session's SHA-256, as the lease notes keep it: no reader of a note can take a session over.
 */
function sessionHash(session: string): string {
  return createHash('sha256').update(session).digest('hex').slice(0, 32);
}
