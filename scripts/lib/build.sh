# SPDX-License-Identifier: Apache-2.0
# Configures and builds a preset. Sourced; the working directory is the repository.

# build_preset NAME TARGETS [CMAKE-OPTION...]: prints only what goes wrong.
build_preset() {
    preset=$1
    targets=$2
    shift 2
    echo "building: $preset"
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of words
    if ! { cmake --preset "$preset" "$@" && cmake --build "build/$preset" --target $targets; } \
        >"$log" 2>&1; then
        grep -v '^\[[0-9]*/[0-9]*\] \(Building\|Linking\|Generating\)' "$log" >&2
        rm -f "$log"
        echo "build/$preset: the build failed" >&2
        return 1
    fi
    rm -f "$log"
}
