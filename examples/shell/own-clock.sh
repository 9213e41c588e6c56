#!/bin/sh
# A program that knows nothing of nonced: its nonce comes from its own clock, in nanoseconds, like that of Kraken's
# command line tool. Two of them at once overtake each other. This runs them unchanged, one after another:
#
#   nonced exec --own-clock --account MASTER --max-hold 20s -- examples/shell/own-clock.sh
set -u
. "$(dirname "$0")/kraken.sh"

kraken_private Balance "$(date +%s%N)"
