# together LIMIT NAME...: run shell functions, at most LIMIT at the same time, to use every core. The first one's output is
# shown as it comes, the others' when they have ended, so that they do not mix. Fails if one fails; an interrupt ends all.

together() {
    logs=$(mktemp -d)
    running=()
    trap end_all EXIT
    trap 'exit 130' INT TERM
    local limit=$1 name index code status=0
    shift
    set -m # a process group for each, to be ended with all of its processes
    exec 3>&1
    for name in "$@"; do
        while [ "$(jobs -rp | wc -l)" -ge "$limit" ]; do sleep 0.2; done
        "$name" >&3 2>&1 < /dev/null 3>&- &
        running+=($!)
        exec 3> "$logs/${#running[@]}"
    done
    exec 3>&-
    set +m
    for index in "${!running[@]}"; do
        code=0
        wait "${running[$index]}" || code=$?
        unset "running[$index]"
        [ "$index" -eq 0 ] || cat "$logs/$index"
        [ "$code" -eq 0 ] || status=$code
    done
    return "$status"
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
