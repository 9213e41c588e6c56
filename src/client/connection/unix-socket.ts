import { createConnection } from 'node:net';
import type { Transport, TransportEvents } from './connection.ts';

/** An answer is some 60 bytes. A status comes in several parts. */
const READ_BYTES = 16_384;

/** Returns a transport over the Unix domain socket at `path`. What is written before it is connected waits. */
export function dialUnixSocket(path: string, events: TransportEvents): Transport {
  // One buffer for everything that is read. Otherwise Node allocates 64 KiB for each answer, and runs a stream on it.
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  const callback = (bytes: number): boolean => {
    // A copy, because the next read overwrites it and the start of a message may have to wait for the rest.
    events.received(Buffer.from(buffer.subarray(0, bytes)));
    return true;
  };
  const socket = createConnection({ path, onread: { buffer, callback } });
  let failure: Error | undefined;
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
