#!/bin/sh
# A program that has never heard of nonced: its nonce is its own clock, in nanoseconds, as that of Kraken's command line
# tool is. Two of them at once overtake each other. Unchanged, one after another:
#
#   nonced exec --own-clock --account MASTER --max-hold 20s -- examples/shell/own-clock.sh
set -u
. "$(dirname "$0")/kraken.sh"

kraken_private Balance "$(date +%s%N)"
