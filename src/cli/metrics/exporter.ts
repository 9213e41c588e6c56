import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, systemClock } from '../../clock.ts';
import { bindSocket, checkSocketPath, listening, removeLeftoverSocket } from '../../daemon/sockets/unix-listener.ts';
import { CONTENT_TYPE } from './exposition.ts';
import type { ListenAddress } from './listen-address.ts';

export interface Exporter {
  /** The address, for people. */
  readonly place: string;
  /** Gives responses under way a second to finish. */
  close(): Promise<void>;
}

const PATH = '/metrics';
/** The mode of a Unix socket: the exporter's user and group may connect. */
const SOCKET_MODE = 0o660;
const MAX_CONNECTIONS = 32;
const MAX_HEADER_BYTES = 8_192;
/** The time for a whole request to arrive, and for a client that reads nothing. */
const REQUEST_WITHIN_MS = 5_000;
const IDLE_FOR_MS = 30_000;
/** Usually longer than the time between two scrapes, so that one connection serves them all. */
const KEEP_ALIVE_MS = 90_000;
const CLOSE_WITHIN_MS = 1_000;

/**
 * Answers GET /metrics with what `scrape` returns; simultaneous scrapes share one. `scrape` must not reject. Rejects
 * with ExitError if it cannot listen.
 */
export async function startExporter(
  address: ListenAddress,
  scrape: () => Promise<string>,
  clock: Clock = systemClock(),
): Promise<Exporter> {
  let underWay: Promise<string> | undefined;
  const shared = () => {
    underWay ??= scrape().finally(() => {
      underWay = undefined;
    });
    return underWay;
  };
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: REQUEST_WITHIN_MS,
      requestTimeout: REQUEST_WITHIN_MS,
      connectionsCheckingInterval: REQUEST_WITHIN_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (request, response) => void respond(request, response, shared),
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.timeout = IDLE_FOR_MS;
  if (address.kind === 'unix') {
    checkSocketPath(address.path, '--listen');
    await removeLeftoverSocket(address.path, '--listen');
    await bindSocket(server, address.path, SOCKET_MODE);
  } else {
    const { host, port } = address;
    await listening(server, `${host}:${port}`, () => server.listen({ host, port }));
  }
  // Most likely out of descriptors; the next scrape tries again.
  server.on('error', () => {});
  return {
    place: address.kind === 'unix' ? `${PATH} on ${address.path}` : urlOf(server.address() as AddressInfo),
    close: () =>
      new Promise((resolve) => {
        const timer = clock.after(CLOSE_WITHIN_MS, () => server.closeAllConnections());
        // This also unlinks its socket.
        server.close(() => {
          timer.cancel();
          resolve();
        });
      }),
  };
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}${PATH}`;
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  scrape: () => Promise<string>,
): Promise<void> {
  // A body is ignored, and must not hold up the next request.
  request.resume();
  const { method = '', url = '' } = request;
  if (url.split('?')[0] !== PATH) {
    refuse(response, 404, `nothing is here; the metrics are at ${PATH}`);
  } else if (method !== 'GET' && method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    refuse(response, 405, `${PATH} supports only GET`);
  } else {
    const body = Buffer.from(await scrape());
    response.writeHead(200, {
      'content-type': CONTENT_TYPE,
      'content-length': body.length,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    response.end(body);
  }
}

function refuse(response: ServerResponse, status: 404 | 405, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' });
  response.end(`${text}\n`);
}
