#!/bin/bash
# One job of forge: starts a worker for one action, hands it signals, and writes down how it ended.
# The words between at signs are filled in by forge/run/slurm/script.py; docs/guides/slurm.md explains it.
@options@

folder=@folder@
key=@key@
ticket=@ticket@
index=${SLURM_ARRAY_TASK_ID:-x}
restarts=${SLURM_RESTART_COUNT:-0}
attempt=$folder/attempt-$ticket-$index.$restarts
worker=
stopped=

# The exit record is put in place by a rename, so that it is there whole or not at all; the bell tells where to look.
ended() {
    mkdir -p "$attempt" "$folder/../ended"
    printf '{"ticket":"%s","code":%d,"job":"%s","restarts":%d,"index":"%s","node":"%s","seconds":%d}\n' \
        "$ticket" "$1" "$SLURM_JOB_ID" "$restarts" "$index" "${SLURMD_NODENAME:-}" "$SECONDS" >"$attempt/exit.tmp" &&
        mv -f "$attempt/exit.tmp" "$attempt/exit.json" &&
        : >"$folder/../ended/$key.$ticket.$index.$restarts"
}

# Put the job into the queue again; a controller that is busy for the moment is asked again.
requeued() {
    for pause in 1 2 4 8 16; do
        scontrol requeue "$SLURM_JOB_ID" && return 0
        sleep "$pause"
    done
    return 1
}

# Print why the job ends, as the controller has it.
reason() {
    for pause in 1 2 4; do
        told=$(scontrol show job --oneliner "$SLURM_JOB_ID") && break
        sleep "$pause"
    done
    told=${told#* Reason=}
    printf '%s' "${told%% *}"
}

# USR1: the time limit is near. TERM: whoever ends the job (a person, preemption, the limit itself) has his reasons.
# A worker that is still being started hears no signal, and would be killed by it: it looks at the file once it can.
signalled() {
    stopped=$1
    mkdir -p "$attempt" && : >"$attempt/told.$1"
    [ -z "$worker" ] || kill -s "$1" "$worker" 2>/dev/null
}
trap 'signalled USR1' USR1
trap 'signalled TERM' TERM

mkdir -p "$attempt"
@setup@

(
    trap '' USR1 TERM
    exec @python@ -m forge worker "$folder" --attempt "$attempt" --notice @notice@
) &
worker=$!
while :; do
    wait "$worker"
    code=$?
    [ "$code" -gt 128 ] && kill -0 "$worker" 2>/dev/null || break # a signal ended the wait, not the worker
done
if [ "$code" -gt 128 ] && [ -n "$stopped" ]; then
    wait "$worker"
    last=$?
    [ "$last" -eq 127 ] || code=$last # 127: the first wait has had it
fi

# 75: the worker has kept its state and goes on from there; what was cancelled does not, what ran into its limit does.
# A requeue that can't be had is left to the head.
if [ "$stopped" = TERM ] && [ "$code" -ne 0 ]; then
    why=$(reason)
    echo "the job was told to end, reason $why; the worker left with $code" >&2
    [ "$code" -eq 75 ] && [ "$why" = TimeLimit ] && requeued
    exit 143
fi
[ "$code" -eq 75 ] && requeued && exit 75
ended "$code"
exit "$code"
