#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One node: cfsgate, durable and relaxed, beside the original as it is, on the same disk.

Rounds are interleaved: every server is asked for one case right after the other, so that a ratio is
one of the same moment. Beside them two floors: a FUSE file system that does nothing (empty_fuse), and
the disk alone (one fdatasync for each change). Writes a report with plots. Needs root; everything runs
in namespaces of its own.

Build first: cmake --build BUILD --target cfsgated cfsgate fs_load empty_fuse
"""
import argparse
import os
import shutil
import subprocess
import tempfile
import time

import report
import servers
from servers import DISK, DURABLE, EMPTY, ORIGINAL, RELAXED, say

PARTS = ["speed", "start", "bytes"]

# (workload, threads)
CASES = [("create", 1), ("create", 8), ("create", 32), ("create-shared", 8), ("overwrite-4k", 1),
         ("overwrite-4k", 8), ("overwrite-1m", 1), ("overwrite-1m", 8), ("rename", 1), ("rename", 8),
         ("mkdir", 1), ("mkdir", 8), ("mixed", 8), ("read", 1), ("read", 8), ("read", 32),
         ("stat", 1), ("stat", 8), ("readdir-1000", 1), ("readdir-10000", 1), ("grep", 1),
         ("fdatasync", 1), ("fdatasync", 8)]
READ_ONLY = ["read", "stat", "readdir-1000", "readdir-10000", "grep"]

RATE = "per_second"
AIMS = {("create", 1): (0.8, RATE), ("create", 8): (2, RATE), ("create", 32): (4, RATE),
        ("create-shared", 8): (None, RATE), ("overwrite-4k", 1): (1, RATE),
        ("overwrite-4k", 8): (3, RATE), ("overwrite-1m", 1): (10, RATE),
        ("overwrite-1m", 8): (None, RATE), ("rename", 1): (1, RATE), ("rename", 8): (None, RATE),
        ("mkdir", 1): (None, RATE), ("mkdir", 8): (None, RATE), ("mixed", 8): (None, RATE),
        ("read", 1): (1.5, RATE), ("read", 8): (3, RATE), ("read", 32): (None, RATE),
        ("stat", 1): (None, RATE), ("stat", 8): (None, RATE), ("readdir-1000", 1): (None, RATE),
        ("readdir-10000", 1): (10, RATE), ("grep", 1): (1.5, RATE)}
RELAXED_AIMS = {("create", 1): (2, RATE), ("create", 8): (3, RATE), ("create", 32): (None, RATE),
                ("overwrite-4k", 1): (None, RATE), ("overwrite-4k", 8): (None, RATE),
                ("rename", 1): (None, RATE), ("mkdir", 1): (None, RATE)}
EMPTY_AIMS = {("read", 1): (0.85, RATE), ("read", 8): (0.85, RATE), ("read", 32): (None, RATE),
              ("stat", 1): (None, RATE), ("create", 1): (None, RATE),
              ("overwrite-4k", 1): (None, RATE), ("readdir-10000", 1): (None, RATE)}

KIB = 1024
# what, operations, arguments of fs_load, most bytes for each operation
LONG = ["--seconds", "300"]
WRITTEN = [("create", 20000, ["create", *LONG], 8 * KIB),
           ("create, 8 threads", 10000, ["create", "--threads", "8", *LONG], None),
           ("create, 4 a second", 120, ["create", "--rate", "4", *LONG], 16 * KIB),
           ("overwrite-4k", 5000, ["overwrite-4k", *LONG], 12 * KIB),
           ("overwrite-1m", 100, ["overwrite-1m", *LONG], 2.5 * KIB * KIB),
           ("rename", 5000, ["rename", *LONG], None),
           ("mkdir", 5000, ["mkdir", *LONG], None)]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    servers.add_options(parser)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--cases", help="only these workloads, such as create,read")
    options = parser.parse_args()
    unknown = set(options.parts.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    return options


# --- Speed ---

def speed(options, text):
    wanted = options.cases.split(",") if options.cases else None
    cases = [case for case in CASES if wanted is None or case[0] in wanted]
    disk = tempfile.mkdtemp(prefix="disk-", dir=options.directory)
    try:
        with servers.boxes(options, DURABLE, RELAXED, ORIGINAL, EMPTY) as subjects:
            servers.prepare(options, subjects,
                            [name for name in READ_ONLY if any(name == case[0] for case in cases)]
                            or ["read"])
            results = servers.measure(options, [*subjects, servers.Subject(DISK, disk)], cases)
    finally:
        shutil.rmtree(disk)
    show_speed(text, results)


def show_speed(text, results):
    text.raw["speed"] = report.with_text_keys(results)
    text.add("## Speed\n\nOperations a second (microseconds of the median / of 99 in 100), medians of "
             "the rounds.\n")
    names = [name for name in (DURABLE, RELAXED, ORIGINAL, EMPTY, DISK)
             if any(name in found for found in results.values())]
    text.add(report.rates(results, names))
    text.add("Processor time of the daemon, microseconds for each operation; with the removal of what "
             "was made.\n")
    text.add(report.processor_times(results, [name for name in names if name != DISK]))
    text.plot("speed", "Operations a second", report.bars(results, names), (12, 5.5))
    for ours, theirs, aims in ((DURABLE, ORIGINAL, AIMS), (RELAXED, ORIGINAL, RELAXED_AIMS),
                               (DURABLE, EMPTY, EMPTY_AIMS)):
        if theirs in names:
            text.add(report.comparison(results, ours, theirs, aims))
    if ORIGINAL in names:
        text.plot("ratios", "cfsgate, durable, against the original as it is",
                  report.ratio_bars(results, DURABLE, ORIGINAL, AIMS), (9, 6))
    for case in (("create", 1), ("create", 8), ("overwrite-4k", 1), ("read", 1)):
        if case in results:
            text.plot(f"latency-{case[0]}-{case[1]}", f"How long it takes: {report.case_name(case)}",
                      report.distributions(results, case, names), (7, 4))


# --- Start and memory ---

TREE_FILES, TREE_SIZE, TREE_DIRECTORIES = 51200, 2048, 200


def fill(options, subject, database):
    state = subject.node.disk()
    if subject.name == ORIGINAL:
        shutil.copy(database, os.path.join(state, "config.db"))
    else:
        subprocess.run([f"{options.build}/clients/cfsgate", "import", database, "--state", state],
                       check=True, stdout=subprocess.DEVNULL)


def first_answer(subject, path):
    """Seconds from the start of the program until a file of the tree has its size."""
    begin = time.monotonic()
    subject.node.start_daemon(wait=False)

    def there():
        try:
            return os.stat(f"{subject.directory}/{path}").st_size == TREE_SIZE
        except OSError:
            return False
    servers.wait_for(there, 120, "the tree answers", every=0.0005)
    return time.monotonic() - begin


def grep(subject):
    begin = time.monotonic()
    done = subprocess.run(["grep", "-r", "needle", "."], cwd=subject.directory, check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode == 0:
        raise RuntimeError("grep found what is not there")
    return time.monotonic() - begin


def start_once(subject, found):
    """A start after a clean end, one after SIGKILL; the tree read cold and warm; memory of it."""
    found["start"].append(first_answer(subject, "d7/f7"))
    found["memory at start"].append(servers.memory(subject.node.daemon.pid))
    found["grep -r, first"].append(grep(subject))
    found["grep -r, again"].append(grep(subject))
    found["memory"].append(servers.memory(subject.node.daemon.pid))
    subject.node.kill_daemon()
    found["start after SIGKILL"].append(first_answer(subject, "d7/f7"))
    servers.stop(subject.node)


def start(options, text):
    files = TREE_FILES // 50 if options.quick else TREE_FILES
    with servers.boxes(options, DURABLE, ORIGINAL, start=False) as subjects:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            database = os.path.join(directory, "config.db")
            servers.write_database(database, files, TREE_SIZE, TREE_DIRECTORIES)
            for subject in subjects:
                fill(options, subject, database)
        results = {subject.name: {key: [] for key in (
            "start", "start after SIGKILL", "grep -r, first", "grep -r, again", "memory at start",
            "memory")} for subject in subjects}
        for round_number in range(options.rounds):
            for subject in subjects:
                os.sync()
                start_once(subject, results[subject.name])
            say(f"start, round {round_number + 1}: " + ", ".join(
                f"{name} {1000 * found['start'][-1]:.0f} ms" for name, found in results.items()))
    show_start(text, results, files)


def show_start(text, results, files):
    text.raw["start"] = results
    text.add(f"## Start and memory\n\n{files} files of 2 KiB, {files * TREE_SIZE >> 20} MiB. From the "
             "start of the program (some 5 ms of which are the namespaces') to the first answer of "
             "the mount; `grep -r` over all of it, by the program; memory of the process after that. "
             "*Private* is what the process alone has; what it maps of `tree.mdb` is the kernel's "
             "cache and is in *resident*.\n")

    def middle(name, key, index=None):
        values = results.get(name, {}).get(key, [])
        values = [value[index] for value in values] if index is not None else values
        return report.statistics.median(values) if values else None

    rows = []
    for what, key, index, unit, most, ratio in (
            ("first answer", "start", None, 1000, 50, 20),
            ("first answer after SIGKILL", "start after SIGKILL", None, 1000, None, None),
            ("grep -r, the first time", "grep -r, first", None, 1000, None, 1.5),
            ("grep -r, again", "grep -r, again", None, 1000, None, 1.5),
            ("private memory", "memory", 0, 1, 24, 5),
            ("private memory right after the start", "memory at start", 0, 1, None, None),
            ("resident memory", "memory", 1, 1, None, None)):
        ours, theirs = middle(DURABLE, key, index), middle(ORIGINAL, key, index)
        suffix = "ms" if unit == 1000 else "MiB"
        aims = [f"≤ {most} {suffix}"] if most else []
        met = [ours * unit <= most] if most else []
        if ratio and theirs:
            aims.append(f"≥ {ratio}×")
            met.append(theirs / ours >= ratio)
        rows.append([what, f"{report.number(ours * unit)} {suffix}",
                     f"{report.number(theirs * unit)} {suffix}" if theirs else "–",
                     f"{theirs / ours:.2f}×" if theirs else "–", ", ".join(aims),
                     ("yes" if all(met) else "**no**") if met else ""])
    text.add(report.table(["", "cfsgate", "original", "better by", "aim", "met"], rows))


# --- Bytes ---

def written_by(options, pairs, what, operations, words):
    """Bytes to the device for each operation: {name: figure}. A paced load runs on all at once. What
    was made stays, so that nobody pays for its removal."""
    workload, *more = words
    limit = max(5, operations // 40) if options.quick else operations

    def begin(subject):
        folder = f"{subject.directory}/{what.replace(' ', '-').replace(',', '')}"
        os.mkdir(folder)
        return servers.start_load(options, folder, workload, "--keep", "--operations", limit, *more)

    if "--rate" not in more:
        return {subject.name: written_during(disk, lambda s=subject: servers.result_of(begin(s)))
                for subject, disk in pairs}
    before = [disk.written() for _, disk in pairs]
    loads = [begin(subject) for subject, _ in pairs]
    done = [servers.result_of(running)["operations"] for running in loads]
    return {subject.name: (disk.written() - start) / count
            for (subject, disk), start, count in zip(pairs, before, done)}


def written_during(disk, run):
    before = disk.written()
    done = run()
    return (disk.written() - before) / done["operations"]


def idle(options, pairs):
    """Bytes in half a minute in which nobody asks for anything."""
    for _, disk in pairs:
        disk.flush()
    time.sleep(1 if options.quick else 10)
    before = {subject.name: disk.written_now() for subject, disk in pairs}
    time.sleep(2 if options.quick else 30)
    return {subject.name: disk.written() - before[subject.name] for subject, disk in pairs}


def bytes_written(options, text):
    wanted = servers.names(options, DURABLE, RELAXED, ORIGINAL)
    with servers.contextlib.ExitStack() as stack:
        pairs = []
        for name in wanted:
            disk = stack.enter_context(servers.loop_disk(options))
            pairs.append((stack.enter_context(servers.box(name, options, disk.path)), disk))
        results = {}
        for what, operations, words, _ in WRITTEN:
            results[what] = written_by(options, pairs, what, operations, words)
            say(f"bytes: {what}: " + ", ".join(
                f"{name} {value / KIB:.1f} KiB" for name, value in results[what].items()))
        results["idle"] = idle(options, pairs)
    text.raw["bytes"] = results
    show_bytes(text, results, wanted)


def show_bytes(text, results, names):
    def size(value):
        return f"{value / KIB / KIB:.2f} MiB" if value >= KIB * KIB else f"{value / KIB:.1f} KiB"
    rows = [[what, *(size(results[what][name]) for name in names),
             f"≤ {size(most)}" if most else "",
             report.verdict(results[what][DURABLE], most, at_most=True)]
            for what, _, _, most in WRITTEN]
    rows.append(["nothing, for 30 s", *(size(results["idle"][name]) for name in names), "0",
                 report.verdict(results["idle"][DURABLE], 0, at_most=True)])
    text.add("## Bytes to the block device for each operation\n\nAn ext4 of its own for each, all that "
             "waits in the kernel's cache included.\n")
    text.add(report.table(["", *(report.NAMES[name] for name in names), "aim", "met"], rows))


def main():
    options = arguments()
    servers.in_own_mounts()
    servers.check_options(options)
    text = report.Report(options, "One node")
    for part in options.parts.split(","):
        {"speed": speed, "start": start, "bytes": bytes_written}[part](options, text)
    text.write("node")


if __name__ == "__main__":
    main()
