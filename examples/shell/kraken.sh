# One private call of Kraken's REST API, with a POSIX shell, curl and openssl. The scripts beside it source this file.
#
#   KRAKEN_KEY_FILE, KRAKEN_SECRET_FILE   files with the API key and its secret, which only you may read; or
#   KRAKEN_KEY, KRAKEN_SECRET             the same in the environment
#   KRAKEN_URL                            https://api.kraken.com if left out
#   KRAKEN_TIMEOUT                        seconds for one call; 10 if left out
#
# No secret is ever an argument of a program, because `ps` shows those to every user of the host. openssl takes the key
# of an HMAC only as an argument (`-hmac`, `-macopt hexkey:`), so the HMAC is made here from two plain hashes, as RFC
# 2104 defines it. curl reads its headers from standard input. `printf` is part of the shell, and `ps` does not show it.

# kraken_private METHOD NONCE [FORM]: makes the call once and prints the answer. FORM has the other parameters,
# URL-encoded: `pair=XBTUSD&type=buy`. Returns 0: carried out; 1: refused; 2: no answer, so it is unknown; 64: not
# called.
kraken_private() {
  kraken_path=/0/private/$1
  kraken_form=nonce=$2${3:+&$3}
  case $kraken_form in *[!A-Za-z0-9._~%\&=+-]*) kraken_fail "not URL-encoded: the form of $1" || return ;; esac
  kraken_key=$(kraken_setting KRAKEN_KEY "${KRAKEN_KEY-}" "${KRAKEN_KEY_FILE-}") || return
  kraken_secret=$(kraken_setting KRAKEN_SECRET "${KRAKEN_SECRET-}" "${KRAKEN_SECRET_FILE-}") || return
  kraken_pads || return

  kraken_signature=$(
    {
      printf "$kraken_inner"
      printf %s "$kraken_path"
      printf %s "$2$kraken_form" | openssl dgst -sha256 -binary
    } | openssl dgst -sha512 -binary | {
      printf "$kraken_outer"
      cat
    } | openssl dgst -sha512 -binary | openssl base64 -A
  )

  # In the background, so that a TERM takes effect at once: what holds the lease for us may end us, and then curl must
  # end.
  kraken_answer=$(mktemp) || return
  curl --silent --show-error --max-time "${KRAKEN_TIMEOUT:-10}" --config - >"$kraken_answer" <<END &
url = "${KRAKEN_URL:-https://api.kraken.com}$kraken_path"
header = "API-Key: $kraken_key"
header = "API-Sign: $kraken_signature"
data = "$kraken_form"
END
  kraken_curl=$!
  trap 'kill "$kraken_curl"; rm -f "$kraken_answer"; exit 143' TERM
  wait "$kraken_curl"
  kraken_ended=$?
  trap - TERM
  kraken_said=$(cat "$kraken_answer")
  rm -f "$kraken_answer"

  [ "$kraken_ended" = 0 ] || return 2
  printf '%s\n' "$kraken_said"
  case $kraken_said in
    '{"error":[]'*) ;;
    '{"error":['*) return 1 ;;
    # A page of a proxy in front of Kraken.
    *) return 2 ;;
  esac
}

# kraken_setting NAME VALUE FILE: prints the value, or else what the file holds.
kraken_setting() {
  if [ -n "$2" ]; then
    printf %s "$2"
  elif [ -n "$3" ]; then
    cat "$3" || return 64
  else
    kraken_fail "no $1; set $1_FILE to a file that holds it, or $1"
  fi
}

# Makes the pads: the secret, filled up with zeros to a block of SHA-512 and mixed with 0x36 and 0x5c, as printf
# escapes.
kraken_pads() {
  kraken_inner= kraken_outer= kraken_length=0
  for kraken_byte in $(printf %s "$kraken_secret" | openssl base64 -d -A | od -An -v -tu1); do
    kraken_pad "$kraken_byte"
  done
  case $kraken_length in 0) kraken_fail 'the secret is not base64; copy it again' || return ;; esac
  while [ "$kraken_length" -lt 128 ]; do kraken_pad 0; done
  [ "$kraken_length" = 128 ] || kraken_fail 'the secret has over 128 bytes; a secret of Kraken has 64'
}

kraken_pad() {
  kraken_mixed=$(($1 ^ 54))
  kraken_inner="$kraken_inner\\$((kraken_mixed / 64))$((kraken_mixed / 8 % 8))$((kraken_mixed % 8))"
  kraken_mixed=$(($1 ^ 92))
  kraken_outer="$kraken_outer\\$((kraken_mixed / 64))$((kraken_mixed / 8 % 8))$((kraken_mixed % 8))"
  kraken_length=$((kraken_length + 1))
}

kraken_fail() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  return 64
}
