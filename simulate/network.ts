import type { Transport, TransportEvents } from '../src/client/connection/connection.ts';
import type { Connection as DaemonConnection, Wire } from '../src/daemon/sockets/connection.ts';
import type { Switchboard } from '../src/daemon/sockets/switchboard.ts';
import type { Random } from './random.ts';
import { type WireMessage, WireReader } from './wire-reader.ts';
import type { Process, World } from './world.ts';

/** Listens on the wires, at the daemon's end. */
export interface WireTap {
  connected(connection: number, role: 'bot' | 'admin', client: string): void;
  /** A message has arrived in the daemon's buffer; the daemon reads it when it runs. */
  arrived(connection: number, message: WireMessage): void;
  /** The daemon reads it, in this turn. */
  read(connection: number, message: WireMessage): void;
  /** The daemon has sent a message. */
  sent(connection: number, message: WireMessage): void;
  /** The daemon learns, in this turn, that the client says nothing more, or is gone. */
  ended(connection: number): void;
}

/** What the network does to what goes over it. */
export interface NetworkTerms {
  latencyMs: number;
  /** How often a write is cut into pieces that arrive one by one. */
  fragmentation: number;
  /** How often what a killed daemon had written is lost on its way. */
  loss: number;
}

interface Listener {
  readonly process: Process;
  readonly switchboard: Switchboard;
}

/** The connections between the bots and the daemon that listens. */
export class Network {
  readonly terms: NetworkTerms = { latencyMs: 0.25, fragmentation: 0, loss: 0 };
  readonly #world: World;
  readonly #random: Random;
  readonly #tap: WireTap;
  readonly #connections = new Set<Connection>();
  #listener: Listener | undefined;
  #made = 0;
  /** Called before the daemon sends bytes. Returns false if it is gone by then. */
  hit: () => boolean = () => true;

  constructor(world: World, random: Random, tap: WireTap) {
    this.#world = world;
    this.#random = random;
    this.#tap = tap;
  }

  listen(process: Process, switchboard: Switchboard): void {
    const listener = { process, switchboard };
    this.#listener = listener;
    process.onDeath(() => {
      if (this.#listener === listener) this.#listener = undefined;
      for (const connection of this.#connections) if (connection.server === listener) connection.serverDied();
    });
  }

  dial(client: Process, role: 'bot' | 'admin', events: TransportEvents): Transport {
    const connection = new Connection(this, this.#made++, client, role, events);
    this.#connections.add(connection);
    client.onDeath(() => connection.clientClosed());
    this.#world.after(this.latency(), () => connection.accept(this.#listener));
    return connection;
  }

  /** Breaks a connection, and everything on its way. Returns false if none is open. */
  breakOne(): boolean {
    const open = [...this.#connections].filter(({ isUp }) => isUp);
    const broken = open[this.#random.below(open.length)];
    broken?.breakDown();
    return broken !== undefined;
  }

  get tap(): WireTap {
    return this.#tap;
  }

  get world(): World {
    return this.#world;
  }

  forget(connection: Connection): void {
    this.#connections.delete(connection);
  }

  latency(): number {
    return this.terms.latencyMs * (0.5 + this.#random.fraction());
  }

  isLost(): boolean {
    return this.#random.chance(this.terms.loss);
  }

  /** Returns the bytes as they arrive: whole, or in pieces. */
  pieces(bytes: Uint8Array): Uint8Array[] {
    if (bytes.length < 2 || !this.#random.chance(this.terms.fragmentation)) return [bytes];
    const cut = 1 + this.#random.below(bytes.length - 1);
    return [bytes.subarray(0, cut), ...this.pieces(bytes.subarray(cut))];
  }
}

class Connection implements Transport {
  readonly #network: Network;
  readonly #number: number;
  readonly #client: Process;
  readonly #role: 'bot' | 'admin';
  readonly #events: TransportEvents;
  readonly #fromClient = new WireReader();
  readonly #fromServer = new WireReader();
  server: Listener | undefined;
  #served: DaemonConnection | undefined;
  #clientEnd: 'open' | 'closing' | 'closed' = 'open';
  #serverEnd: 'waiting' | 'open' | 'closed' = 'waiting';
  /** What is on its way never arrives. */
  #broken = false;
  #early: Uint8Array[] = [];
  #isHalfClosed = false;
  /** Bytes never overtake one another. */
  #toServerMs = 0;
  #toClientMs = 0;
  #untaken = 0;

  constructor(network: Network, number: number, client: Process, role: 'bot' | 'admin', events: TransportEvents) {
    this.#network = network;
    this.#number = number;
    this.#client = client;
    this.#role = role;
    this.#events = events;
  }

  get isUp(): boolean {
    return this.#clientEnd === 'open' && this.#serverEnd === 'open' && !this.#broken;
  }

  accept(listener: Listener | undefined): void {
    if (this.#clientEnd === 'closed') return;
    if (listener === undefined) {
      this.#closeClient('ECONNREFUSED');
      return;
    }
    this.server = listener;
    listener.process.wake('input', () => {
      if (this.#broken) return;
      this.#serverEnd = 'open';
      this.#network.tap.connected(this.#number, this.#role, this.#client.name);
      this.#served = listener.switchboard.connect(this.#wire(), this.#role);
      const early = this.#early;
      this.#early = [];
      for (const bytes of early) this.#carry(bytes);
      if (this.#isHalfClosed) this.#endHalf();
      if (this.#clientEnd !== 'open') this.#endServer();
    });
  }

  // The client's side.

  write(bytes: Uint8Array): void {
    if (this.#clientEnd !== 'open' || !this.#client.isAlive) return;
    // Copied, because the sender may use its buffer again.
    const copy = Buffer.from(bytes);
    if (this.#serverEnd === 'waiting') this.#early.push(copy);
    else this.#carry(copy);
  }

  close(): void {
    if (this.#clientEnd !== 'open') return;
    this.#clientEnd = 'closing';
    this.#endServer();
  }

  destroy(): void {
    this.close();
    this.#clientEnd = 'closed';
  }

  ref(): void {}

  unref(): void {}

  clientClosed(): void {
    this.destroy();
  }

  /** Lets the client say nothing more and still listen. */
  halfClose(): void {
    if (this.#clientEnd !== 'open') return;
    if (this.#serverEnd === 'waiting') this.#isHalfClosed = true;
    else this.#endHalf();
  }

  #endHalf(): void {
    this.#deliver(() => this.server?.process.wake('input', () => this.#serverHearsEnd()));
  }

  // What happens to it.

  breakDown(): void {
    this.#broken = true;
    this.#closeClient('ECONNRESET');
    this.server?.process.wake('input', () => this.#serverHearsClose());
  }

  serverDied(): void {
    this.#serverEnd = 'closed';
    if (this.#network.isLost()) this.#broken = true;
    this.#toClient(() => this.#events.closed(Object.assign(new Error('ECONNRESET'), { code: 'ECONNRESET' })), true);
    this.#network.forget(this);
  }

  #closeClient(code: string): void {
    if (this.#clientEnd === 'closed') return;
    this.#clientEnd = 'closed';
    this.#network.forget(this);
    this.#network.world.after(this.#network.latency(), () =>
      this.#client.wake('input', () => this.#events.closed(Object.assign(new Error(code), { code }))),
    );
  }

  #carry(bytes: Uint8Array): void {
    for (const piece of this.#network.pieces(bytes)) {
      this.#deliver(() => {
        const messages = this.#fromClient.push(piece);
        for (const message of messages) this.#network.tap.arrived(this.#number, message);
        this.server?.process.wake('input', () => {
          if (this.#served === undefined || this.#serverEnd !== 'open') return;
          for (const message of messages) this.#network.tap.read(this.#number, message);
          this.server?.switchboard.receive(this.#served, piece);
        });
      });
    }
  }

  #deliver(arrive: () => void): void {
    const { world } = this.#network;
    this.#toServerMs = Math.max(this.#toServerMs, world.nowMs + this.#network.latency());
    world.after(this.#toServerMs - world.nowMs, () => {
      if (!this.#broken && this.#serverEnd === 'open') arrive();
    });
  }

  /** Ends the client's side: what it had written still arrives, and then the end. */
  #endServer(): void {
    if (this.#serverEnd !== 'open') return;
    this.#deliver(() => {
      this.server?.process.wake('input', () => this.#serverHearsEnd());
      this.server?.process.wake('input', () => this.#serverHearsClose());
    });
  }

  #serverHearsEnd(): void {
    if (this.#served === undefined || this.#serverEnd !== 'open' || this.server === undefined) return;
    this.#network.tap.ended(this.#number);
    this.server.switchboard.receiveEnd(this.#served);
  }

  #serverHearsClose(): void {
    if (this.#served === undefined || this.#serverEnd !== 'open' || this.server === undefined) return;
    this.#serverEnd = 'closed';
    this.#network.forget(this);
    this.#network.tap.ended(this.#number);
    this.server.switchboard.closed(this.#served);
  }

  // The daemon's side.

  #wire(): Wire {
    const connection = this;
    return {
      write: (bytes) => connection.#serverWrites(bytes),
      get unsentBytes() {
        return connection.#untaken;
      },
      end: () => connection.#serverEnds(),
      destroy: () => connection.#serverEnds(),
      pause: () => {},
      resume: () => {},
    };
  }

  #serverWrites(bytes: Uint8Array): void {
    if (this.#serverEnd !== 'open' || !this.#network.hit()) return;
    const copy = Buffer.from(bytes);
    for (const message of this.#fromServer.push(copy)) this.#network.tap.sent(this.#number, message);
    for (const piece of this.#network.pieces(copy)) {
      this.#untaken += piece.length;
      this.#toClient(() => {
        this.#untaken -= piece.length;
        if (this.#untaken === 0 && this.#serverEnd === 'open' && this.#served !== undefined) {
          this.server?.switchboard.drained(this.#served);
        }
        if (this.#clientEnd === 'open') this.#events.received(piece);
      });
    }
  }

  #serverEnds(): void {
    if (this.#serverEnd !== 'open') return;
    this.#toClient(() => {
      if (this.#clientEnd === 'closed') return;
      this.#clientEnd = 'closed';
      this.#events.closed(undefined);
    });
    this.#network.world.after(0, () => this.server?.process.wake('input', () => this.#serverHearsClose()));
  }

  #toClient(take: () => void, always = false): void {
    const { world } = this.#network;
    this.#toClientMs = Math.max(this.#toClientMs, world.nowMs + this.#network.latency());
    world.after(this.#toClientMs - world.nowMs, () => {
      if (this.#broken && !always) return;
      this.#client.wake('input', () => {
        if (always) {
          if (this.#clientEnd === 'closed') return;
          this.#clientEnd = 'closed';
        }
        take();
      });
    });
  }
}
