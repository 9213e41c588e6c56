import type { Transport } from '../src/client/connection/connection.ts';
import { jsonRpc } from '../src/protocol/json-rpc.ts';
import type { Codec } from '../src/protocol/messages.ts';
import { msgpackRpc } from '../src/protocol/msgpack-rpc.ts';
import type { Network } from './network.ts';
import { type WireMessage, WireReader } from './wire-reader.ts';
import type { Process } from './world.ts';

/** A client without the library. It sends what it is told to, and never retries. */
export class RawPeer {
  readonly #transport: Transport;
  readonly #codec: Codec;
  readonly #reader = new WireReader();
  readonly #waiting = new Map<number, (message: WireMessage) => void>();
  #ids = 100;

  constructor(network: Network, process: Process, role: 'bot' | 'admin', encoding: 'msgpack' | 'json') {
    this.#codec = encoding === 'msgpack' ? msgpackRpc : jsonRpc;
    this.#transport = network.dial(process, role, {
      received: (chunk) => {
        for (const message of this.#reader.push(chunk)) this.#heard(message);
      },
      // Requests that wait then wait for ever.
      closed: () => {},
    });
  }

  request(method: string, params: object, id = this.#ids++): Promise<WireMessage> {
    this.#transport.write(this.#codec.request(id, method, params));
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  notify(method: string, params: object): void {
    this.#transport.write(this.#codec.notification(method, params));
  }

  bytes(bytes: Uint8Array): void {
    this.#transport.write(bytes);
  }

  close(): void {
    this.#transport.close();
  }

  halfClose(): void {
    // The connections of this simulation can do more than the library needs.
    (this.#transport as Transport & { halfClose(): void }).halfClose();
  }

  #heard(message: WireMessage): void {
    if (message.kind !== 'answer' && message.kind !== 'refusal') return;
    const id = Number(message.id);
    this.#waiting.get(id)?.(message);
    this.#waiting.delete(id);
  }
}
