#!/usr/bin/env bash
# Checks the engine on a machine that has a GPU but no Rust, from programs built on one that has Rust but no GPU:
#
#   tools/gpu_check.sh pack FILE.tar.xz                here: builds with nvcc, strips, packs
#   tools/gpu_check.sh run FILE.tar.xz [PART] [FLAG]   there: unpacks, runs, writes gpu-check/report.json and gpu-check/status.json
#
# Parts are correctness (tests, `rocl verify`), sanitizer (compute-sanitizer) and speed (`rocl bench`, the PyTorch peer); all three
# without one. --list lists their stages, any of which can be named as well; --out, --device, --python: see `run FILE --help`.
# `pack` takes ROCL_CUDA_ARCHS=90 for one architecture, and ROCL_SHARED for larger recordings, which go along when there is room.
# Needed there: bash, tar, xz (or FILE.tar.gz, which is larger), a driver, cuDNN 9 and cuBLASLt (see ROCL_CUDA_LIBS in the README).
set -euo pipefail

# What the bundle may weigh, in MiB.
limit=60
tests=(kernels cuda_device linear epilogues precision training own verify)

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

pack() {
    local out=$1 root stage messages name path size
    [[ $out == *.tar.gz || $out == *.tar.xz ]] || fail "$out should end in .tar.xz, or .tar.gz, which is larger"
    mkdir -p "$(dirname "$out")"
    out=$(realpath "$out")
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    cd "$root"
    stage=$(mktemp -d)
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$stage'" EXIT
    mkdir -p "$stage/rocl/bin" "$stage/rocl/tests" "$stage/rocl/kernels" "$stage/rocl/benches" "$stage/rocl/tools"

    ROCL_COMMIT=$(git describe --always --dirty 2>/dev/null || echo unknown)
    export ROCL_COMMIT
    # One profile for all, so that the kernels are compiled once.
    messages=$stage/messages.json
    cargo test --release --features cuda --no-run --message-format=json --bin rocl --example gpu_check \
        "${tests[@]/#/--test=}" >"$messages"
    # Testing the program builds its tests, not the program.
    cargo build --release --features cuda --bin rocl --example gpu_check --message-format=json >>"$messages"
    for name in rocl gpu_check "${tests[@]}"; do
        path=$(sed -n 's/.*"kind":\["\(bin\|example\|test\)"\].*"name":"'"$name"'".*"executable":"\([^"]*\)".*/\2/p' "$messages" | tail -n 1)
        [[ -n $path ]] || fail "cargo has not built $name"
        cp "$path" "$stage/rocl/bin/$name"
        strip "$stage/rocl/bin/$name"
    done
    cp -r tests/golden "$stage/rocl/tests/"
    cp kernels/README.md "$stage/rocl/kernels/"
    cp -r benches/peer "$stage/rocl/benches/"
    cp -r recipes "$stage/rocl/"
    cp tools/gpu_check.sh "$stage/rocl/tools/"
    printf '%s\n' "$ROCL_COMMIT" >"$stage/rocl/commit"
    archive "$stage" "$out"
    if [[ -d ${ROCL_SHARED:-/nonexistent}/golden ]]; then
        mkdir -p "$stage/rocl/shared"
        cp -r "$ROCL_SHARED/golden" "$stage/rocl/shared/"
        archive "$stage" "$stage/larger.${out##*.}"
        if (($(mebibytes "$stage/larger.${out##*.}") <= limit)); then
            mv "$stage/larger.${out##*.}" "$out"
        else
            echo "note: the recordings of ROCL_SHARED do not fit in as well; without them"
        fi
    fi
    size=$(mebibytes "$out")
    ((size <= limit)) || fail "$out has $size MiB, more than $limit; pack a .tar.xz, or set ROCL_CUDA_ARCHS to the one architecture needed"
    echo "packed $out, $size MiB, from $ROCL_COMMIT"
}

# All programs hold the same kernels: xz, which looks back far enough, stores them once.
archive() {
    case $2 in
    *xz) tar -C "$1" -cf - rocl | xz -9 >"$2" ;;
    *) tar -C "$1" -czf "$2" rocl ;;
    esac
}

mebibytes() {
    local bytes
    bytes=$(stat -c %s "$1")
    echo $(((bytes + 1048575) / 1048576))
}

run() {
    local file=$1 unpacked status=0
    shift
    [[ -f $file ]] || fail "there is no $file; make one with: tools/gpu_check.sh pack $file"
    unpacked=$(mktemp -d)
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$unpacked'" EXIT
    tar -C "$unpacked" -xf "$file"
    "$unpacked/rocl/bin/gpu_check" --bundle "$unpacked/rocl" "$@" || status=$?
    exit "$status"
}

case ${1:-} in
pack | run)
    (($# >= 2)) || fail "$1 needs a FILE.tar.xz"
    "$@"
    ;;
*)
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 2
    ;;
esac
