#!/usr/bin/env bash
# Shuts a worker in the cloud down once its Ray has been gone for a quarter of an hour. Ray ends
# idle workers from the head; with the head gone nobody would, and they would be paid for until
# somebody looked. Returns at once.
set -euo pipefail

watch() {
    exec 9> ~/.leave_with_head.lock
    flock --nonblock 9 || return 0 # one is watching
    local minutes=0 answer
    while ((minutes < 15)); do
        sleep 60
        # A raylet that cannot reach the head for a minute ends by itself. An answer of 1 says that
        # there is none; any other, that we do not know.
        answer=0 && pgrep -x raylet > /dev/null || answer=$?
        if ((answer == 1)); then minutes=$((minutes + 1)); else minutes=0; fi
    done
    sudo --non-interactive shutdown -h now
}

if [[ ${1:-} == watch ]]; then
    watch
else
    setsid --fork bash "$0" watch < /dev/null > /dev/null 2>&1
fi
