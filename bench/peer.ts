/** A task of the comparison, as a user has it. */
export type Ability = 'nonce' | 'exclusive';

/** Something a user could pick instead of the daemon, or the daemon itself. */
export interface Peer {
  /** As in `--peer`. */
  readonly name: string;
  readonly title: string;
  readonly can: readonly Ability[];
  /** Whether a nonce it has given is not given again after a power cut. */
  readonly isDurable: boolean;
  /** Of no use to more than one process, so all its clients share one. */
  readonly inOneProcess?: true;
  /** Why it cannot run here, and what to install; undefined if it can. */
  missing(): string | undefined;
  /** Starts its server, if it has one, with fresh state in `dir`. */
  start(dir: string): Promise<Server>;
  /**
   * One client's way to it, set up at its best for so many calls under way at once. Called in a client's process, and no
   * package is loaded before.
   */
  open(endpoint: string, outstanding: number): Promise<Connection>;
}

export interface Server {
  /** What `open` needs to find it. */
  readonly endpoint: string;
  stop(): Promise<void>;
}

export interface Connection {
  /** Resolves with a nonce that no other caller gets. */
  nonce?(): Promise<bigint>;
  /** Waits for the lane, makes the call, which may be synchronous, and gives the lane back. No call of a lane overlaps another. */
  exclusive?(lane: number, call: (nonce: bigint) => Promise<void> | void): Promise<void>;
  /** Ends what the end of the client's process would leave behind. */
  close?(): Promise<void>;
}

/** The name under which all peers know a lane. */
export function laneName(lane: number): string {
  return `lane-${lane}`;
}

export function noServer(endpoint: string): Server {
  return { endpoint, stop: async () => {} };
}
