// Sends back all that comes in on the Unix socket that is its argument.
import { createServer } from 'node:net';

createServer((socket) => {
  socket.on('data', (chunk) => void socket.write(chunk));
  socket.on('error', () => {});
}).listen(process.argv[2]);
