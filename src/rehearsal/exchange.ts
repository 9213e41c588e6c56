import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock, Timer } from '../clock.ts';
import { send, sendSpoilt } from './exchange-answer.ts';
import { readBody } from './exchange-body.ts';
import type { Fault } from './exchange-faults.ts';
import { FaultSchedule, isCarriedOut } from './exchange-faults.ts';
import type { AdmissionRules, ApiKey, KeyRequest } from './exchange-keys.ts';
import { KeyRing, parseNonce } from './exchange-keys.ts';
import type { ExchangeOrder } from './exchange-methods.ts';
import { PrivateMethods } from './exchange-methods.ts';
import type { Verdict, WitnessedCall, WitnessReport } from './exchange-witness.ts';
import { Witness } from './exchange-witness.ts';
import { randomDelays } from './random-delays.ts';

export type ExchangeOptions = AdmissionRules & {
  readonly keys?: readonly KeyRequest[];
  /** Bounds of the random delay before a nonce is checked, so that calls in flight overtake one another. */
  readonly delayMs?: readonly [min: number, max: number];
  /** Seeds the delays. The same seed gives the same delays in the order of arrival. */
  readonly seed?: number;
  /** How many calls the ledger keeps, and how many nonces of a key, to find repeats. */
  readonly ledgerLimit?: number;
  /** How many orders are kept. */
  readonly orderLimit?: number;
  readonly port?: number;
};

/** Time and chance, from the program that starts the exchange. */
export type ExchangeSurroundings = {
  /** Milliseconds since 1970. Must not go back. */
  readonly nowMs: () => number;
  readonly after: Clock['after'];
  /** Returns so many random bytes. */
  readonly random: (bytes: number) => Buffer;
};

export type ExchangeReport = WitnessReport & {
  orders: number;
  /** How many orders had the `cl_ord_id`, or else the `userref`, of an earlier order of the account. */
  duplicateOrders: number;
};

export type Exchange = {
  readonly url: string;
  readonly port: number;
  readonly keys: readonly ApiKey[];
  addKey(request?: KeyRequest): ApiKey;
  /** Puts a fault in force. The returned function takes it back. */
  injectFault(fault: Fault): () => void;
  clearFaults(): void;
  /** Returns how many calls wait in vain because a fault leaves them without an answer. */
  unanswered(): number;
  /** Resets their connections. */
  dropUnanswered(): void;
  /**
   * Uses the key as a foreign program would. Returns false, and changes nothing, unless the nonce is higher than the
   * last.
   */
  useKeyElsewhere(key: string, nonce: bigint | string): boolean;
  lastNonce(key: string): bigint;
  report(): ExchangeReport;
  /** Returns the calls that are kept, the oldest first, from number `from` on. */
  ledger(from?: number): WitnessedCall[];
  orders(): ExchangeOrder[];
  /** Closes every connection. Nonces that still wait for their delay are not checked any more. */
  close(): Promise<void>;
};

const BODY_LIMIT_BYTES = 64 * 1024;
const FORM = 'application/x-www-form-urlencoded';

const ERRORS: Partial<Record<Verdict, string>> = {
  'invalid-key': 'EAPI:Invalid key',
  'invalid-signature': 'EAPI:Invalid signature',
  'invalid-nonce': 'EAPI:Invalid nonce',
  'rate-limited': 'EAPI:Rate limit exceeded',
  'locked-out': 'EGeneral:Temporary lockout',
  'unknown-method': 'EGeneral:Unknown method',
  malformed: 'EGeneral:Invalid arguments',
  'too-large': 'EGeneral:Request too large',
};

/** Starts an exchange on a free port of 127.0.0.1 that speaks Kraken's private REST and records everything it sees. */
export async function startExchange(
  options: ExchangeOptions,
  { nowMs, after, random }: ExchangeSurroundings,
): Promise<Exchange> {
  const witness = new Witness(options.ledgerLimit ?? 200_000, nowMs);
  const methods = new PrivateMethods(options.orderLimit ?? 10_000, nowMs);
  const faults = new FaultSchedule();
  const keyRing = new KeyRing(options, random);
  const drawDelayMs = randomDelays(options.delayMs ?? [0, 20], options.seed ?? 1);
  const unanswered = new Map<ServerResponse, WitnessedCall>();
  const pauses = new Map<Timer, () => void>();
  let closed = false;

  /** Ends early when the exchange is closed. */
  function pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = after(delayMs, () => {
        pauses.delete(timer);
        resolve();
      });
      pauses.set(timer, resolve);
    });
  }

  function addKey(request: KeyRequest = {}): ApiKey {
    const identity = keyRing.issue(request);
    witness.addKey(identity);
    return identity;
  }

  function refuse(call: WitnessedCall, response: ServerResponse, verdict: Verdict, status = 200): void {
    witness.judged(call, verdict);
    send(response, { error: [ERRORS[verdict] ?? 'EGeneral:Internal error'] }, status);
  }

  async function answerPrivate(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const method = path.slice('/0/private/'.length);
    const key = headerOf(request, 'api-key');
    const call = witness.arrived(key, method);
    response.once('finish', () => witness.completed(call, 'exchange'));
    response.once('close', () => witness.completed(call, closed ? 'exchange' : 'client'));

    const arrived = await readBody(request, BODY_LIMIT_BYTES);
    if (arrived.state === 'cut-off') return witness.judged(call, 'cut-off');
    if (arrived.state === 'too-large') {
      response.setHeader('connection', 'close');
      return refuse(call, response, 'too-large', 413);
    }
    if (request.method !== 'POST') return refuse(call, response, 'malformed', 405);
    if (!methods.knows(method)) return refuse(call, response, 'unknown-method');
    const known = keyRing.find(key);
    if (!known) return refuse(call, response, 'invalid-key');
    // As Kraken does: a body without a type is taken for a form. kraken-api 1 sends one.
    const type = headerOf(request, 'content-type').split(';')[0]?.trim().toLowerCase() ?? '';
    if (type !== '' && type !== FORM) return refuse(call, response, 'malformed');
    const form = new URLSearchParams(arrived.body.toString());
    const [written = '', ...more] = form.getAll('nonce');
    if (!known.isSignedBy(headerOf(request, 'api-sign'), path, written, arrived.body)) {
      return refuse(call, response, 'invalid-signature');
    }
    witness.sawNonce(call, written);
    if (method === 'AddOrder') witness.sawOrder(call, form);

    const fault = faults.take(key, method);
    if (fault) witness.hitByFault(call, fault.kind);
    if (fault?.kind === 'hang' || fault?.kind === 'stall-body') {
      unanswered.set(response, call);
      response.once('close', () => unanswered.delete(response));
    }
    const drawnMs = drawDelayMs();
    const waitMs = fault?.kind === 'delay' ? fault.delayMs : drawnMs;
    if (waitMs > 0) await pause(waitMs);
    // Looked at again: the exchange may have been closed. A client that left changes nothing: what it sent is carried
    // out.
    if (closed) return;

    switch (fault?.kind) {
      case 'invalid-nonce':
        witness.lookedAtNonce(call);
        return refuse(call, response, known.refuseNonce(nowMs()));
      case 'locked-out':
        return refuse(call, response, 'locked-out');
      case 'rate-limited': {
        witness.lookedAtNonce(call);
        const admitted = known.admit(more.length > 0 ? undefined : parseNonce(written), method, nowMs());
        return refuse(call, response, admitted === 'accepted' ? 'rate-limited' : admitted);
      }
    }
    // Recorded before the connection closes, or it would pass for a client that left.
    const resetting = () => witness.completed(call, 'exchange');
    if (fault && !isCarriedOut(fault)) {
      witness.judged(call, 'faulted');
      return sendSpoilt(response, fault, { error: [] }, resetting);
    }
    witness.lookedAtNonce(call);
    const verdict = known.admit(more.length > 0 ? undefined : parseNonce(written), method, nowMs());
    witness.judged(call, verdict);
    const answer =
      verdict === 'accepted'
        ? methods.run(method, known.identity.account, form)
        : { error: [ERRORS[verdict] ?? 'EGeneral:Internal error'] };
    if (fault) sendSpoilt(response, fault, answer, resetting);
    else send(response, answer);
  }

  function answerPublic(request: IncomingMessage, response: ServerResponse, path: string): void {
    request.resume();
    const now = new Date(nowMs());
    const isPublic = path.startsWith('/0/public/');
    const results: Record<string, unknown> = {
      '/0/public/Time': { unixtime: Math.floor(now.getTime() / 1000), rfc1123: now.toUTCString() },
      '/0/public/SystemStatus': { status: 'online', timestamp: now.toISOString() },
    };
    const result = results[path];
    if (result) send(response, { error: [], result });
    else send(response, { error: ['EGeneral:Unknown method'] }, isPublic ? 200 : 404);
  }

  const server = createServer((request, response) => {
    const [path = ''] = (request.url ?? '').split('?');
    if (path.startsWith('/0/private/')) void answerPrivate(request, response, path);
    else answerPublic(request, response, path);
  });
  // An idle connection that is closed just as a call is sent on it would look like a fault, and none was injected.
  server.keepAliveTimeout = 0;
  server.on('clientError', (_cause, socket) => {
    witness.sawGarbage();
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    else socket.destroy();
  });

  const keys = (options.keys ?? []).map(addKey);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}`,
    port,
    keys,
    addKey,
    injectFault: (fault) => faults.add(fault),
    clearFaults: () => faults.clear(),
    unanswered: () => unanswered.size,
    dropUnanswered() {
      for (const [response, call] of unanswered) {
        witness.completed(call, 'exchange');
        response.socket?.resetAndDestroy();
      }
    },
    useKeyElsewhere: (key, nonce) => keyRing.get(key).useElsewhere(String(nonce)),
    lastNonce: (key) => keyRing.get(key).lastNonce,
    report: () => ({ ...witness.report(), ...methods.report() }),
    ledger: (from) => witness.ledger(from),
    orders: () => methods.orders(),
    close() {
      closed = true;
      for (const [timer, end] of pauses) {
        timer.cancel();
        end();
      }
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

function headerOf(request: IncomingMessage, name: string): string {
  const value = request.headers[name];
  return typeof value === 'string' ? value : '';
}
