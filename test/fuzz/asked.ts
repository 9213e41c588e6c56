import { jsonRpc } from '../../src/protocol/json-rpc.ts';
import { BrokenStream, MessageScanner } from '../../src/protocol/message-scanner.ts';
import { MAX_MESSAGE_BYTES, type RequestId } from '../../src/protocol/messages.ts';
import { msgpackRpc } from '../../src/protocol/msgpack-rpc.ts';

/** What a client's stream asks for: how many answers are due under each id. */
export interface Asked {
  /** 0 stands for what has no id that could be read. */
  readonly owed: ReadonlyMap<RequestId, number>;
  /** It stops being messages somewhere: one answer more under 0, and the connection is closed. */
  readonly broken: boolean;
}

export function askedBy(stream: Uint8Array): Asked {
  const scanner = new MessageScanner({ maxBytes: MAX_MESSAGE_BYTES });
  const owed = new Map<RequestId, number>();
  const owe = (id: RequestId) => owed.set(id, (owed.get(id) ?? 0) + 1);
  let broken = false;
  try {
    scanner.push(stream);
    for (let frame = scanner.next(); frame !== undefined; frame = scanner.next()) {
      const message = (scanner.encoding === 'msgpack' ? msgpackRpc : jsonRpc).decode(frame);
      if (message.kind === 'request') owe(message.id);
      else if (message.kind === 'malformed') owe(message.id ?? 0);
      else if (message.kind !== 'notification') owe(0);
    }
  } catch (error) {
    if (!(error instanceof BrokenStream)) throw error;
    broken = true;
    owe(0);
  }
  return { owed, broken };
}
