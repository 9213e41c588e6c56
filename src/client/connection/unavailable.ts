import { NoncedError, refusal, systemErrorCode } from '../../errors.ts';
import { SERVICE_RUNTIME_DIR } from '../../service-places.ts';

/** No daemon answers at `path`; `reason` is what the last attempt failed of. */
export function unavailable(path: string, reason: Error | undefined): NoncedError {
  if (isUnavailable(reason)) return reason;
  const code = systemErrorCode(reason);
  const message = isForbidden(reason)
    ? `may not connect to ${path} (${code}); it is for another user or group, see ls -l; as a service: join the group nonced, then restart the bot`
    : `no daemon answers at ${path} (${code ?? reason?.message ?? 'no answer in time'}); ${startHint(path)}`;
  return new NoncedError(refusal('UNAVAILABLE', message), reason === undefined ? undefined : { cause: reason });
}

function startHint(path: string): string {
  return path.startsWith(`${SERVICE_RUNTIME_DIR}/`)
    ? 'find out why with `sudo nonced doctor`, and start it with `sudo systemctl start nonced`'
    : 'start it with `nonced serve`, or say where it is: NONCED_SOCKET, --socket';
}

/** Waiting cures no permission: a process gets its groups when it starts. */
export function isForbidden(reason: Error | undefined): boolean {
  const code = systemErrorCode(reason);
  return code === 'EACCES' || code === 'EPERM';
}

export function isUnavailable(reason: Error | undefined): reason is NoncedError {
  return reason instanceof NoncedError && reason.code === 'UNAVAILABLE';
}

/** Another authority answers where ours was: its nonces have nothing to do with those we had. */
export function otherInstance(path: string, was: string, is: string): NoncedError {
  return new NoncedError(
    refusal(
      'UNAVAILABLE',
      `another nonced answers at ${path} (instance ${is}, it was ${was}); make sure that its state is the right one, then restart the bot`,
    ),
  );
}
