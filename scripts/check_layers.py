#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks who includes whom. The two tables below are the layer rule of ARCHITECTURE.md.

Prints one line `file:line: what is wrong` for each include that breaks it; exit code 1 then.
"""
import argparse
import os
import re
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CODE = ("store", "replication", "gateway", "clients", "tests")

# Layer (longest match of the path wins): what of ours it may include, besides its own folder.
# A name that ends in "/" is a folder and all below it; else one header.
OURS = {
    "store/base/": [],
    "store/model/": ["store/base/"],
    "store/lmdb/": ["store/base/"],
    "store/config_db/": ["store/base/", "store/model/"],
    "store/": ["store/"],
    "replication/core/": ["store/base/", "store/model/"],
    "replication/corosync/": ["replication/core/view.h", "store/base/"],
    "replication/": ["store/base/", "store/model/", "store/store.h", "store/apply.h",
                     "store/lock_leases.h", "replication/core/", "replication/corosync/"],
    "gateway/": ["store/base/", "store/model/", "store/store.h", "store/apply.h",
                 "store/guest_registry.h", "store/lock_leases.h", "store/change_counters.h",
                 "replication/cluster_status.h", "replication/sequencer.h"],
    "gateway/fuse/": ["store/base/", "store/model/limits.h", "gateway/file_system.h",
                      "gateway/file_id.h", "gateway/lock_table.h"],
    "gateway/nfs/": ["store/base/", "store/model/limits.h", "store/model/path.h",
                     "gateway/file_system.h", "gateway/file_id.h", "gateway/lock_table.h"],
    "gateway/daemon/": ["store/", "replication/", "gateway/"],
    "clients/": ["store/"],
    "tests/": ["store/", "replication/", "gateway/", "clients/", "tests/"],
}
# The commands read the old database through its own interface, and LMDB not at all.
NEVER = {"clients/": ["store/lmdb/"], "gateway/daemon/": ["store/lmdb/"]}

# Library (start of the name in <...>): who may include it. Every other header in <...> belongs to
# the standard library or the system.
LIBRARIES = {
    "lmdb.h": ["store/lmdb/"],
    "sqlite3.h": ["store/config_db/", "tests/"],
    "openssl/": ["store/model/digest.cc"],
    "tl/": ["store/base/result.h"],
    "spdlog/": ["store/base/log.h", "gateway/daemon/logging.", "tests/"],
    "fuse3/": ["gateway/fuse/", "tests/bench/empty_fuse.cc", "tests/support/power_disk.cc"],
    "fuse": [],
    "nlohmann/": ["gateway/daemon/", "clients/", "tests/"],
    "boost/program_options": ["gateway/daemon/options.cc", "clients/arguments.cc"],
    "isa-l/": ["store/base/crc32c.cc"],
    "boost/": [],
    "systemd/": ["gateway/daemon/"],
    "gtest/": ["tests/"],
    "gmock/": ["tests/"],
    "corosync/": ["replication/corosync/"],
    "qb/": [],
    "rpc/": ["gateway/nfs/"],
    "nfsc/": ["clients/libnfs.h", "tests/"],
}
# No threads and no locks where the same input must give the same result everywhere.
PLAIN = ["store/model/", "store/apply.", "replication/core/"]
NOT_IN_PLAIN = {"thread", "mutex", "condition_variable", "future", "chrono", "ctime", "random",
                "sys/socket.h", "netdb.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def longest(table, path):
    """The key of the table that is the longest start of the path, or None."""
    found = [key for key in table if path.startswith(key)]
    return max(found, key=len) if found else None


def check_ours(path, included):
    layer = longest(OURS, path)
    if layer is None:
        return f"{path} is in no layer"
    for never in NEVER.get(layer, []):
        if included.startswith(never):
            return f"{layer} must not include {included}"
    # The façade's own folder holds other layers, which it must not know.
    own = included.startswith(layer) and longest(OURS, included) == layer
    if own or any(included.startswith(name) if name.endswith("/") else included == name
                  for name in OURS[layer]):
        return None
    return f"{layer} must not include {included}"


def check_library(path, included):
    name = longest(LIBRARIES, included)
    if name is not None and not any(path.startswith(user) for user in LIBRARIES[name]):
        return f"<{included}> is only for {', '.join(LIBRARIES[name]) or 'nobody yet'}"
    if included in NOT_IN_PLAIN and any(path.startswith(plain) for plain in PLAIN):
        return f"<{included}>: nothing here may depend on time, chance or threads"
    return None


def check_text(path, text, exists):
    """What is wrong with the includes of a file, as (line number, message)."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        bracket, included = match.groups()
        if bracket == "<":
            message = check_library(path, included)
        elif not exists(included):
            message = f'"{included}": ours are named from the top of the repository'
        else:
            message = check_ours(path, included)
        if message:
            found.append((number, message))
    return found


def sources():
    for top in CODE:
        for folder, folders, files in os.walk(os.path.join(REPOSITORY, top)):
            folders.sort()
            for name in sorted(files):
                if name.endswith((".h", ".cc")):
                    yield os.path.relpath(os.path.join(folder, name), REPOSITORY)


def is_ours(name):
    """Whether a header is in the repository, or is made from a file that is."""
    path = os.path.join(REPOSITORY, name)
    return os.path.isfile(path) or os.path.isfile(os.path.splitext(path)[0] + ".x")


def check_tree():
    count = 0
    files = 0
    for path in sources():
        files += 1
        with open(os.path.join(REPOSITORY, path), encoding="utf-8") as file:
            text = file.read()
        for number, message in check_text(path, text, is_ours):
            print(f"{path}:{number}: {message}")
            count += 1
    print(f"{files} files, {count} includes that break the layer rule")
    return 1 if count or not files else 0


def self_test():
    """Each rule must catch what it is there for, and let pass what is right."""
    wrong = [
        ("store/base/files.cc", '"store/model/path.h"'),
        ("store/model/path.cc", '"store/store.h"'),
        ("store/model/path.cc", "<chrono>"),
        ("store/apply.cc", "<random>"),
        ("store/store.cc", '"gateway/file_system.h"'),
        ("store/store.cc", "<lmdb.h>"),
        ("store/journal.cc", "<openssl/evp.h>"),
        ("store/store.cc", "<spdlog/spdlog.h>"),
        ("store/config_db/import.cc", '"store/store.h"'),
        ("replication/local_sequencer.cc", '"store/journal.h"'),
        ("replication/local_sequencer.cc", '"gateway/file_system.h"'),
        ("gateway/file_system.cc", '"gateway/fuse/mount.h"'),
        ("gateway/file_system.cc", "<fuse3/fuse_lowlevel.h>"),
        ("gateway/fuse/operations.cc", '"store/store.h"'),
        ("gateway/fuse/operations.cc", '"replication/sequencer.h"'),
        ("gateway/fuse/operations.cc", '"gateway/daemon/options.h"'),
        ("gateway/nfs/caller.cc", '"store/store.h"'),
        ("gateway/nfs/caller.cc", '"gateway/access.h"'),
        ("gateway/nfs/caller.cc", '"gateway/fuse/mount.h"'),
        ("gateway/daemon/daemon.cc", "<fuse3/fuse_lowlevel.h>"),
        ("gateway/daemon/daemon.cc", "<rpc/rpc.h>"),
        ("clients/main.cc", '"gateway/file_system.h"'),
        ("clients/main.cc", '"store/lmdb/environment.h"'),
        ("clients/main.cc", "<sqlite3.h>"),
        ("elsewhere/main.cc", '"store/store.h"'),
    ]
    right = [
        ("store/base/files.cc", '"store/base/files.h"'),
        ("store/model/path.cc", "<string>"),
        ("store/store.cc", '"store/lmdb/environment.h"'),
        ("store/lmdb/environment.cc", "<lmdb.h>"),
        ("gateway/file_system.cc", '"gateway/access.h"'),
        ("gateway/fuse/operations.cc", '"gateway/file_system.h"'),
        ("gateway/nfs/caller.cc", '"gateway/file_system.h"'),
        ("gateway/nfs/xdr.h", "<rpc/xdr.h>"),
        ("gateway/daemon/daemon.cc", '"gateway/fuse/mount.h"'),
        ("clients/main.cc", '"store/store.h"'),
        ("tests/unit/store/x_test.cc", "<gtest/gtest.h>"),
    ]
    bad = 0
    for cases, expected in ((wrong, True), (right, False)):
        for path, name in cases:
            caught = bool(check_text(path, f"// first\n#include {name}\n", lambda _: True))
            if caught != expected:
                print(f"self-test: {path} with {name}: {'not ' if expected else ''}caught")
                bad += 1
    if not check_text("store/store.cc", '#include "journal.h"\n', lambda _: False):
        print("self-test: a name that is not from the top: not caught")
        bad += 1
    print(f"self-test: {len(wrong) + len(right) + 1} cases, {bad} wrong")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", action="store_true", help="check this script itself")
    arguments = parser.parse_args()
    return self_test() if arguments.self_test else check_tree()


if __name__ == "__main__":
    sys.exit(main())
