import type { ServerResponse } from 'node:http';
import type { FaultAction } from './exchange-faults.ts';
import type { MethodAnswer } from './exchange-methods.ts';

export function send(response: ServerResponse, answer: MethodAnswer, status = 200): void {
  const body = JSON.stringify(answer);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

/** Sends the answer spoilt as the fault says. `resetting` is called before a connection is reset. */
export function sendSpoilt(
  response: ServerResponse,
  fault: FaultAction,
  answer: MethodAnswer,
  resetting: () => void,
): void {
  switch (fault.kind) {
    case 'hang':
      return;
    case 'reset':
      resetting();
      response.socket?.resetAndDestroy();
      return;
    case 'stall-body':
      sendHalf(response, answer);
      return;
    case 'reset-body':
      sendHalf(response, answer, () => {
        resetting();
        response.socket?.resetAndDestroy();
      });
      return;
    case 'status':
      response.writeHead(fault.status, { 'content-type': 'text/html' });
      response.end(`<html><body><h1>Error ${fault.status}</h1></body></html>`);
      return;
    case 'unavailable':
      send(response, { error: ['EService:Unavailable'] });
      return;
    case 'busy':
      send(response, { error: ['EService:Busy'] });
      return;
    case 'delay':
    case 'invalid-nonce':
    case 'rate-limited':
    case 'locked-out':
      send(response, answer);
  }
}

/** Sends the headers of the whole answer and half of its body. */
function sendHalf(response: ServerResponse, answer: MethodAnswer, sent: () => void = () => {}): void {
  const body = Buffer.from(JSON.stringify(answer));
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
  response.write(body.subarray(0, body.length >> 1), sent);
}
