# together LIMIT NAME...: run shell functions, at most LIMIT at the same time, to use every core. The first one's output is
# shown as it comes, the others' when they have ended, so that they do not mix. Fails if one fails; an interrupt ends all.

together() {
    logs=$(mktemp -d)
    running=()
    trap end_all EXIT
    trap 'exit 130' INT TERM
    local limit=$1 name index status=0
    shift
    local names=("$@")
    exec 3>&1
    for name in "$@"; do
        while [ "$(jobs -rp | wc -l)" -ge "$limit" ]; do sleep 0.2; done
        set -m # a process group for each, to be ended with all of its processes
        with_status "$name" "$logs/${#running[@]}.status" >&3 2>&1 < /dev/null 3>&- &
        set +m
        running+=($!)
        exec 3> "$logs/${#running[@]}"
    done
    exec 3>&-
    for index in "${!running[@]}"; do
        wait "${running[$index]}" 2> /dev/null || true # the shell may have forgotten the status of one that ended early
        unset "running[$index]"
        [ "$index" -eq 0 ] || cat "$logs/$index"
        grep -qx 0 "$logs/$index.status" 2> /dev/null && continue
        echo "failed: ${names[$index]}" >&2
        status=1
    done
    return "$status"
}

# with_status NAME FILE: run a shell function and write its exit status to a file.
with_status() {
    local code=0
    "$1" || code=$?
    echo "$code" > "$2"
}

end_all() {
    local group tries
    for group in "${running[@]}"; do
        kill -INT -- "-$group" 2> /dev/null || continue # pytest ends its actors then
        for ((tries = 0; tries < 150; tries++)); do
            kill -0 -- "-$group" 2> /dev/null || break
            sleep 0.1
        done
        kill -TERM -- "-$group" 2> /dev/null || true
    done
    rm -rf "$logs"
}
