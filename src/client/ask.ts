import { dirname, join } from 'node:path';
import { systemClock } from '../clock.ts';
import { NoncedError, refusal } from '../errors.ts';
import type { Message } from '../protocol/messages.ts';
import { type DaemonVersion, fitted, isUnsupported, minorNeeded } from '../protocol/minor.ts';
import { msgpackRpc } from '../protocol/msgpack-rpc.ts';
import { PlainRequest } from './calls/request.ts';
import { readGreeting } from './connection/answers.ts';
import { Connection } from './connection/connection.ts';
import { surroundings } from './connection/host.ts';
import { findSocket } from './connection/socket-path.ts';
import { isForbidden, unavailable } from './connection/unavailable.ts';
import { dialUnixSocket } from './connection/unix-socket.ts';

const ADMIN_SOCKET = 'admin.sock';
const ANSWER_WITHIN_MS = 30_000;
const HELLO_ID = 1;
const REQUEST_ID = 2;
const FIRST_RELEASE: DaemonVersion = { version: '0.1.0', minor: 0 };

/** Returns the operator's socket, which is beside the bots' one. */
export function adminSocket(asked: string | undefined): string {
  return join(dirname(findSocket(asked, surroundings()).path), ADMIN_SOCKET);
}

/**
 * Asks the socket at `path` one thing, over a connection of its own. Rejects with a NoncedError, also if no answer
 * comes within `withinMs`.
 */
export function askOnce<Result>(
  path: string,
  method: string,
  params: object,
  withinMs = ANSWER_WITHIN_MS,
): Promise<Result> {
  // Before there is a connection to be left open: it throws at a number that does not fit in 64 bits.
  const bytes = msgpackRpc.request(REQUEST_ID, method, params);
  const request = new PlainRequest(method, params, (result) => result as Result);
  // Most requests are as old as the protocol, and need not know the daemon.
  const greets = minorNeeded(method, params) > 0;
  const send = (daemon: DaemonVersion) => {
    const fitting = fitted(daemon, method, params);
    if (isUnsupported(fitting)) request.refuse(fitting);
    else connection.send(msgpackRpc.request(REQUEST_ID, method, fitting));
  };
  const answer = request.begin({ giveUpAtMs: undefined, signal: undefined }, () => {
    timer.cancel();
    connection.destroy();
  });
  const connection = new Connection(dialUnixSocket, path, msgpackRpc, {
    message(message: Message) {
      if (message.kind === 'error') request.refuse(message.error);
      else if (message.kind !== 'answer') return;
      else if (message.id === REQUEST_ID) request.accept(message.result);
      else send(readGreeting(message.result) ?? FIRST_RELEASE);
    },
    broken: (reason) => request.fail(unreachable(path, reason)),
  });
  const timer = systemClock().after(withinMs, () => {
    request.fail(new NoncedError(refusal('UNAVAILABLE', `no answer from ${path} in time; look at its log`)));
  });
  connection.send(greets ? msgpackRpc.request(HELLO_ID, 'hello', {}) : bytes);
  return answer;
}

function unreachable(path: string, reason: Error | undefined): NoncedError {
  if (!path.endsWith(ADMIN_SOCKET) || !isForbidden(reason)) return unavailable(path, reason);
  return new NoncedError(
    refusal('FORBIDDEN', `${path} is the operator's; run this as the daemon's user, or with sudo`),
  );
}
