import { BlockList, isIP } from 'node:net';
import { EXIT, ExitError } from '../../errors.ts';

/** Where the exporter listens: on the loopback interface of this host, or on a Unix socket. */
export type ListenAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

const MAX_PORT = 65_535;
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

/** Reads the value of `--listen`: HOST:PORT, or a path, which contains a slash. Throws ExitError, with the fix. */
export function parseListenAddress(text: string): ListenAddress {
  if (text.includes('/')) return { kind: 'unix', path: text };
  const [, inBrackets, bare, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = inBrackets ?? (bare === 'localhost' ? '127.0.0.1' : bare);
  const family = host === undefined ? 0 : isIP(host);
  if (
    host === undefined ||
    family === 0 ||
    (family === 6) !== (inBrackets !== undefined) ||
    Number(digits) > MAX_PORT
  ) {
    throw new ExitError(
      EXIT.usage,
      `--listen ${text}: give an address and a port, such as 127.0.0.1:9464 or [::1]:9464, or the path of a Unix socket`,
    );
  }
  if (!LOOPBACK.check(host, family === 6 ? 'ipv6' : 'ipv4')) {
    throw new ExitError(
      EXIT.usage,
      `--listen ${text}: other hosts can reach ${host}, and there is neither encryption nor a password here; ` +
        `listen on 127.0.0.1:${digits}, behind a reverse proxy that has both`,
    );
  }
  return { kind: 'tcp', host, port: Number(digits) };
}
