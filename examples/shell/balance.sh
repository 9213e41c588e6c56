#!/bin/sh
# Prints the balance of a Kraken account, with the nonce that it is given:
#
#   KRAKEN_KEY_FILE=~/kraken.key KRAKEN_SECRET_FILE=~/kraken.secret \
#     nonced exec --account MASTER --unit ns --max-hold 20s -- examples/shell/balance.sh
#
# Exits 0 if Kraken carried the call out, 1 if it refused, 2 if no answer came. kraken.sh lists the settings.
set -u
: "${NONCED_NONCE:?is not set; run this under 'nonced exec --' or with-nc.sh}"
. "$(dirname "$0")/kraken.sh"

kraken_private Balance "$NONCED_NONCE"
