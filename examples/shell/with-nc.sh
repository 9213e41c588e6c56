#!/usr/bin/env bash
# Runs a program while it holds a lease for an account, with the nonce in NONCED_NONCE. This is what `nonced exec` does,
# with only bash and the nc of OpenBSD.
#
#   NONCED_SOCKET=/run/nonced/nonced.sock examples/shell/with-nc.sh MASTER examples/shell/balance.sh
#
# Exits as the program does; with 69 without a daemon, 75 if there is no lease in time, 124 if the program takes too
# long.
set -uo pipefail

if (($# < 2)); then
  printf 'usage: %s ACCOUNT PROGRAM [ARGUMENT…]\n' "${0##*/}" >&2
  exit 64
fi
account=$1
shift

wait_s=${NONCED_WAIT:-30}
hold_s=${NONCED_HOLD:-18}
# The lease outlasts the program by two seconds, so there is never a call without it.
ttl_ms=$(((hold_s + 2) * 1000))

fail() {
  printf '%s: %s\n' "${0##*/}" "$2" >&2
  exit "$1"
}

# However this script ends, nc notices it and passes it on (-N), and the lease ends.
coproc NC { exec nc -N -U "${NONCED_SOCKET:-/run/nonced/nonced.sock}"; }
# If nc has ended already, bash has removed the array.
to_daemon=${NC[1]-} from_daemon=${NC[0]-}

# ask ID SECONDS METHOD PARAMS: puts the answer in $answer. Lines with another id are notifications.
ask() {
  [[ -n $to_daemon ]] || return
  printf '{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}\n' "$1" "$3" "$4" >&"$to_daemon" || return
  while IFS= read -r -t "$2" -u "$from_daemon" answer; do
    [[ $answer == *'"id":'"$1"[,}]* ]] && return
  done
  return 1
}

# A daemon that is gone is an error of `read`, not the end of this script.
trap '' PIPE
ask 1 5 hello "{\"name\":\"with-nc.sh\",\"pid\":$$}" 2>/dev/null || fail 69 'no daemon answers; start it, or set NONCED_SOCKET'
ask 2 $((wait_s + 5)) acquire \
  "{\"account\":\"$account\",\"unit\":\"ns\",\"ttlMs\":$ttl_ms,\"waitMs\":$((wait_s * 1000))}" ||
  fail 69 'the daemon went away while we waited; nothing was sent'
# They are decimal strings, so that no parser rounds them.
[[ $answer =~ \"nonce\":\"([0-9]+)\" ]] || fail 75 "no lease: $answer"
nonce=${BASH_REMATCH[1]}
[[ $answer =~ \"token\":\"([0-9]+)\" ]] || fail 75 "no token: $answer"
token=${BASH_REMATCH[1]}

trap - PIPE
NONCED_NONCE=$nonce NONCED_ACCOUNT=$account timeout -k 1 "$hold_s" "$@" <&0 &
program=$!
trap 'kill "$program"' TERM INT HUP
wait "$program"
code=$?
# A signal ends the wait and not the program, which is now ending.
while kill -0 "$program" 2>/dev/null; do
  wait "$program"
  code=$?
done

outcome=unknown
((code == 0)) && outcome=ok
trap '' PIPE
ask 3 5 release "{\"token\":\"$token\",\"outcome\":\"$outcome\"}" 2>/dev/null ||
  printf '%s: the daemon went away meanwhile, and others may have called with this key\n' "${0##*/}" >&2
exit "$code"
