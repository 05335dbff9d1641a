# SPDX-License-Identifier: Apache-2.0
# Debian packages that the scripts need, and how they are installed. Sourced.

packages_to_build="cmake g++ libboost-dev libboost-program-options-dev libcmap-dev libcpg-dev
    libexpected-dev libfuse3-dev libisal-dev liblmdb-dev libnfs-dev libquorum-dev libspdlog-dev
    libsqlite3-dev libssl-dev libsystemd-dev libtirpc-dev libvotequorum-dev ninja-build
    nlohmann-json3-dev pkg-config rpcsvc-proto"
packages_to_run="fuse3 mount"
# scripts/package.
packages_to_package="dpkg-dev file gzip python3"
# The tests: their framework, the checks, and the tools whose behaviour on the mount they look at.
packages_to_test="ansible-core clang-format corosync corosync-qdevice corosync-qnetd git groff-base iproute2
    libgmock-dev libgtest-dev nano nfs-common procps python3 python3-pytest rsync sqlite3
    user-mode-linux util-linux vim"
# Only scripts/fuzz.
packages_to_fuzz="clang libclang-rt-14-dev"
# Only scripts/bench: the plots of its report.
packages_to_bench="e2fsprogs python3-matplotlib"

# Prints those of the packages that are not installed.
missing_packages() {
    for package; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
            installed) ;;
            *) echo "$package" ;;
        esac
    done
}

# Quiet unless it fails. Needs root only if something is missing.
install_packages() {
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing packages: $missing" >&2
        echo "installing them needs root; run this as root, or install them first" >&2
        return 1
    fi
    echo "installing: $missing"
    log=$(mktemp)
    if ! {
        # An update that fails for one source may still have brought what is needed.
        apt-get update || true
        # shellcheck disable=SC2086 # a list of words
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
    } >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        echo "the packages could not be installed" >&2
        return 1
    fi
    rm -f "$log"
}
