import { createConnection } from 'node:net';
import type { Transport, TransportEvents } from './connection.ts';

/** A transport over the Unix domain socket at `path`. What is written before it is connected waits. */
export function dialUnixSocket(path: string, events: TransportEvents): Transport {
  const socket = createConnection(path);
  let failure: Error | undefined;
  socket.on('data', (chunk) => events.received(chunk));
  socket.on('error', (error) => {
    failure = error;
  });
  socket.on('close', () => events.closed(failure));
  return {
    write: (bytes) => {
      socket.write(bytes);
    },
    close: () => {
      socket.unref();
      socket.destroySoon();
    },
    destroy: () => {
      socket.destroy();
    },
    ref: () => {
      socket.ref();
    },
    unref: () => {
      socket.unref();
    },
  };
}
