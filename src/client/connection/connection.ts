import { nextTick } from 'node:process';
import { asError } from '../../errors.ts';
import { MessageScanner } from '../../protocol/message-scanner.ts';
import type { Codec, Message } from '../../protocol/messages.ts';

/** An answer is far smaller, but for `status`, which lists at most a hundred of a kind. */
const MAX_ANSWER_BYTES = 1 << 20;

/** A stream of bytes to the daemon: a socket, or a simulation of one. */
export interface Transport {
  /** Hands bytes on, in order. Never throws, never calls back before it returns; harmless once closed. */
  write(bytes: Uint8Array): void;
  /** Closes after what was written has gone out. */
  close(): void;
  /** Closes at once. */
  destroy(): void;
  /** Keeps the process alive, as a new transport does. */
  ref(): void;
  unref(): void;
}

export interface TransportEvents {
  received(chunk: Uint8Array): void;
  /** The transport is closed, or could not be opened; called once, `reason` being the system's error if there was one. */
  closed(reason: Error | undefined): void;
}

/** Opens a transport. Failures are told through `events.closed`, never before it has returned. */
export type Dial = (path: string, events: TransportEvents) => Transport;

export interface ConnectionEvents {
  message(message: Message): void;
  /** What was sent in this turn has been written. */
  written?(): void;
  /** The connection is gone; called at most once, nothing follows. Not called after `close` or `destroy`. */
  broken(reason: Error | undefined): void;
}

/** One connection: messages in, bytes out, and the reverse. What makes no sense breaks it. */
export class Connection implements TransportEvents {
  readonly #transport: Transport;
  readonly #codec: Codec;
  readonly #events: ConnectionEvents;
  readonly #scanner: MessageScanner;
  #unwritten: Uint8Array[] = [];
  #open = true;
  #keepsAlive = true;
  readonly #flush = (): void => {
    const waiting = this.#unwritten;
    if (waiting.length === 0) return;
    this.#unwritten = [];
    const [first] = waiting;
    this.#transport.write(waiting.length === 1 && first !== undefined ? first : Buffer.concat(waiting));
    this.#events.written?.();
  };

  constructor(dial: Dial, path: string, codec: Codec, events: ConnectionEvents) {
    this.#codec = codec;
    this.#events = events;
    this.#scanner = new MessageScanner({ maxBytes: MAX_ANSWER_BYTES, encoding: codec.encoding });
    this.#transport = dial(path, this);
  }

  /** Sends one message. Those of one turn go out in one write. */
  send(bytes: Uint8Array): void {
    if (!this.#open) return;
    // Not a microtask: a release and the next acquire lie several of them apart, and should share a write.
    if (this.#unwritten.push(bytes) === 1) nextTick(this.#flush);
  }

  /** Whether this connection keeps the process alive. */
  keepAlive(keeps: boolean): void {
    if (keeps === this.#keepsAlive) return;
    this.#keepsAlive = keeps;
    if (keeps) this.#transport.ref();
    else this.#transport.unref();
  }

  /** Sends what is left, then closes. */
  close(): void {
    if (!this.#open) return;
    this.#flush();
    this.#open = false;
    this.#transport.close();
  }

  /** Closes at once. */
  destroy(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#unwritten = [];
    this.#transport.destroy();
  }

  /** Of the transport. */
  received(chunk: Uint8Array): void {
    if (!this.#open) return;
    try {
      this.#scanner.push(chunk);
    } catch (error) {
      this.#break(error);
      return;
    }
    // Looked at each time round: a message may have made its receiver close this connection.
    while (this.#open) {
      let frame: Uint8Array | undefined;
      try {
        frame = this.#scanner.next();
      } catch (error) {
        this.#break(error);
        return;
      }
      if (frame === undefined) return;
      this.#events.message(this.#codec.decode(frame));
    }
  }

  /** Of the transport. */
  closed(reason: Error | undefined): void {
    if (!this.#open) return;
    this.#open = false;
    this.#events.broken(reason);
  }

  #break(error: unknown): void {
    this.destroy();
    this.#events.broken(asError(error));
  }
}
