import { dirname, join } from 'node:path';
import { systemClock } from '../clock.ts';
import { NoncedError, refusal, systemErrorCode } from '../errors.ts';
import type { Message } from '../protocol/messages.ts';
import { msgpackRpc } from '../protocol/msgpack-rpc.ts';
import { Connection } from './connection/connection.ts';
import { surroundings } from './connection/host.ts';
import { findSocket } from './connection/socket-path.ts';
import { unavailable } from './connection/unavailable.ts';
import { dialUnixSocket } from './connection/unix-socket.ts';

const ADMIN_SOCKET = 'admin.sock';
const ANSWER_WITHIN_MS = 30_000;
const REQUEST_ID = 1;

/** The operator's socket beside the bots' one. */
export function adminSocket(asked: string | undefined): string {
  return join(dirname(findSocket(asked, surroundings()).path), ADMIN_SOCKET);
}

/** Asks the socket at `path` one thing. Rejects with NoncedError, also where no answer comes within `withinMs`. */
export function askOnce<Result>(
  path: string,
  method: string,
  params: object,
  withinMs = ANSWER_WITHIN_MS,
): Promise<Result> {
  // Before there is a connection to be left open: it throws at a number that does not fit in 64 bits.
  const request = msgpackRpc.request(REQUEST_ID, method, params);
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      timer.cancel();
      connection.destroy();
      act();
    };
    const connection = new Connection(dialUnixSocket, path, msgpackRpc, {
      message(message: Message) {
        if (message.kind === 'answer') settle(() => resolve(message.result as Result));
        else if (message.kind === 'error') settle(() => reject(new NoncedError(message.error)));
      },
      broken: (reason) =>
        settle(() => {
          const isOperators = path.endsWith(ADMIN_SOCKET) && isForbidden(reason);
          reject(isOperators ? notOperator(path) : unavailable(path, reason));
        }),
    });
    const timer = systemClock().after(withinMs, () => {
      settle(() => reject(new NoncedError(refusal('UNAVAILABLE', `no answer from ${path} in time; look at its log`))));
    });
    connection.send(request);
  });
}

function isForbidden(reason: Error | undefined): boolean {
  return ['EACCES', 'EPERM'].includes(systemErrorCode(reason) ?? '');
}

function notOperator(path: string): NoncedError {
  return new NoncedError(
    refusal('FORBIDDEN', `${path} is the operator's; run this as the daemon's user, or with sudo`),
  );
}
