#!/bin/sh
# Runs attackers under `agentsight`, which is looked for in PATH.
# usage: run.sh HOW PROGRAMS WORK RESULTS
#
# HOW is `each`, a session for each attacker, or `together`, one session for all that can share one: in an
# emulated machine a session takes seconds to begin. PROGRAMS holds the attackers, and `attackers`, a list of
# their names with how each is started: `shared`, `alone` or `attached` (while it runs already). In RESULTS are
# left: NAME.code, NAME.said, and NAME.json or shared.json, as `show --json` says it, and NAME.verify.
set -u
how=$1 programs=$2 work=$3 results=$4
mkdir -p "$work" "$results"
"$programs/daemon" "$work/daemon" &
daemon=$!
trap 'kill $daemon 2> /dev/null' EXIT

prepare() {
	mkdir -p "$work/$1/at"
	for file in secret secret1 secret2 secret3 secret4; do
		echo 'nobody of the tree has opened this' > "$work/$1/at/$file"
	done
}

# show NAME STORE
show() {
	agentsight show last --json --store "$2" > "$results/$1.json" 2>> "$results/$1.said"
	agentsight verify "$2" > /dev/null 2>&1
	echo $? > "$results/$1.verify"
}

# Waits for a file, some seconds at most.
await() {
	tries=0
	while [ ! -e "$1" ] && [ $tries -lt 200 ]; do
		sleep 0.1
		tries=$((tries + 1))
	done
}

alone() {
	agentsight run --quiet --store "$work/$1/store" -- "$programs/$1" "$work/$1/at" \
		< /dev/null > /dev/null 2> "$results/$1.said"
	code=$?
	# The one that ends the monitor goes on without it.
	if [ $code = 137 ]; then
		await "$work/$1/at/after"
		[ -e "$work/$1/at/after" ] && code=0
	fi
	echo $code > "$results/$1.code"
	show "$1" "$work/$1/store"
}

attached() {
	"$programs/$1" "$work/$1/at" < /dev/null > /dev/null 2> "$results/$1.said" &
	attacker=$!
	await "$work/$1/at/ready"
	agentsight attach --quiet --store "$work/$1/store" --pid $attacker 2> "$results/$1.attach" &
	watching=$!
	# Its record begins when it watches.
	tries=0
	while [ -z "$(find "$work/$1/store" -name '*.seg' 2> /dev/null)" ] && [ $tries -lt 200 ]; do
		sleep 0.1
		tries=$((tries + 1))
	done
	sleep 1
	: > "$work/$1/at/go"
	wait $attacker
	echo $? > "$results/$1.code"
	wait $watching
	show "$1" "$work/$1/store"
}

shared=
while read -r name start; do
	prepare "$name"
	case $start in
	attached) attached "$name" ;;
	alone) alone "$name" ;;
	shared) if [ "$how" = each ]; then alone "$name"; else shared="$shared $name"; fi ;;
	esac
done < "$programs/attackers"

[ -z "$shared" ] && exit 0
# shellcheck disable=SC2016,SC2086 # the inner shell expands the first; names of attackers hold no spaces
agentsight run --quiet --store "$work/store" -- sh -c '
	programs=$1 work=$2 results=$3
	shift 3
	for name in "$@"; do
		"$programs/$name" "$work/$name/at" < /dev/null > /dev/null 2> "$results/$name.said"
		echo $? > "$results/$name.code"
	done' sh "$programs" "$work" "$results" $shared < /dev/null > /dev/null 2> "$results/shared.said"
show shared "$work/store"
