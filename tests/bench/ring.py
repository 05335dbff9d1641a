#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A cluster: cfsgate, durable, beside the original as it is.

Two rings of the same kind run at once, knet with encryption, each node in namespaces of its own with
real corosync; rounds are interleaved, as in node.py. Then joins, partitions, and what grows with the
cluster and with the tree. Writes a report with plots. Needs root.

All nodes of both rings share the processors of this machine, so absolute figures are lower than those
of real nodes: read the ratios.

Build first: cmake --build BUILD --target cfsgated cfsgate fs_load ring_load
"""
import argparse
import contextlib
import datetime
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

import report
import servers
from servers import DURABLE, ORIGINAL, RING, cluster_lab, say, wait_for

PARTS = ["speed", "join", "partition", "nodes", "entries"]
RATE, P50, P99 = "per_second", "p50_us", "p99_us"

CASES = [("create", 1), ("create", 8), ("create", 32), ("overwrite-4k", 1), ("overwrite-1m", 1),
         ("rename", 1), ("rename", 8), ("mkdir", 1), ("mixed", 8)]
WINDOWS = (1, 8, 32)
EVERYWHERE = ("create on three nodes", 24)  # 8 on each
PROPAGATION = ("propagation", 1)
AIMS = {("create", 1): (1.2, RATE), ("create", 8): (3, RATE), ("create", 32): (4, RATE),
        EVERYWHERE: (3, RATE), ("overwrite-4k", 1): (None, RATE), ("overwrite-1m", 1): (5, RATE),
        ("rename", 1): (1.5, RATE), ("rename", 8): (None, RATE), ("mkdir", 1): (None, RATE),
        ("mixed", 8): (None, RATE)}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    servers.add_options(parser)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--transport", choices=("knet", "udpu"), default="knet",
                        help="udpu is without encryption")
    options = parser.parse_args()
    unknown = set(options.parts.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    return options


# --- Rings ---

class Ring(cluster_lab.Cluster):
    def __init__(self, name, options, count):
        command = [options.peer, "-f"] if name == ORIGINAL else [
            f"{options.build}/gateway/cfsgated", "--foreground", "--nfs", "off"]
        super().__init__(count, command, tempfile.mkdtemp(prefix="ring-", dir=options.directory),
                         transport=options.transport, crypto=options.transport == "knet",
                         name=f"bench-{name}")
        self.kind = name
        self.program = f"{options.build}/clients/cfsgate"

    def fill(self, number, database):
        """The tree that a node is to start with."""
        state = self[number].disk()
        if self.kind == ORIGINAL:
            shutil.copy(database, os.path.join(state, "config.db"))
        else:
            subprocess.run([self.program, "import", database, "--state", state], check=True,
                           stdout=subprocess.DEVNULL)

    def start(self, *numbers):
        for number in numbers:
            self[number].start_daemon(wait=False)
        for number in numbers:
            self[number].wait_mounted()

    def wait_writable(self, numbers, seconds=120):
        """Until what one node writes is on all of them."""
        def written(number):
            try:
                with open(f"{self[number].tree}/bench-{number}", "w", encoding="ascii") as file:
                    file.write("here")
                return True
            except OSError:
                return False
        for number in numbers:
            wait_for(lambda n=number: written(n), seconds, f"node {number} can write", every=0.05)
        for number in numbers:
            for other in numbers:
                wait_for(lambda n=number, o=other: os.path.exists(f"{self[n].tree}/bench-{o}"),
                         seconds, f"node {number} sees node {other}", every=0.05)

    def subject(self, number=1):
        return servers.Subject(self.kind, self[number].tree,
                               [self[number], *(node for node in self.nodes if node != self[number])])


@contextlib.contextmanager
def ring(name, options, count=3, database=None, running=None):
    """A ring whose daemons run (`running`: only these), their tree that of `database`."""
    numbers = running or range(1, count + 1)
    with Ring(name, options, count) as made:
        try:
            for number in numbers if database else ():
                made.fill(number, database(made))
            made.start(*numbers)
            made.wait_writable(numbers)
            yield made
        finally:
            # At once: what is still running is not looked at any more.
            for node in made.nodes:
                if node.daemon:
                    node.daemon.end()


def last_file(files):
    """Of such a tree, the one that was made last."""
    return f"d{(files - 1) % directories_for(files)}/f{files - 1}"


def directories_for(files):
    return max(1, files // 256)


@contextlib.contextmanager
def tree(options, files, size):
    """-> a function that makes a config.db for a ring, whose corosync.conf is in it."""
    with tempfile.TemporaryDirectory(prefix="tree-", dir=options.directory) as directory:
        def make(made):
            path = os.path.join(directory, f"{made.kind}-{len(made.nodes)}.db")
            if not os.path.exists(path):
                conf = made.corosync_conf().encode()
                servers.write_database(path, files, size, directories_for(files),
                                       [("corosync.conf", conf)])
            return path
        yield make


def kinds(options):
    return servers.names(options, DURABLE, ORIGINAL)


# --- Speed ---

def create_everywhere(options, made):
    """8 writers on each of three nodes; their sum."""
    loads = []
    for number in (1, 2, 3):
        folder = f"{made[number].tree}/from-{number}"
        os.makedirs(folder, exist_ok=True)
        loads.append(servers.start_load(options, folder, "create", "--threads", 8, "--seconds",
                                        options.seconds))
    found = [servers.result_of(one) for one in loads]
    return {"per_second": sum(one["per_second"] for one in found),
            "p50_us": statistics.median(one["p50_us"] for one in found),
            "p99_us": max(one["p99_us"] for one in found),
            "max_us": max(one["max_us"] for one in found)}


def ring_alone(options, made):
    """Messages through the corosyncs of that ring and back, without a file system: {window: result}"""
    program = f"{options.build}/tests/bench/ring_load"
    following = [node.spawn(program, "--follow", log="ring_load", stdin=subprocess.PIPE)
                 for node in made.nodes[1:]]
    try:
        return {window: json.loads(made[1].exec(
            program, "--members", len(made.nodes), "--window", window, "--seconds", options.seconds,
            check=True).stdout)["results"][0] for window in WINDOWS}
    finally:
        for one in following:
            one.popen.stdin.close()
            one.wait()


def propagation(options, made):
    return servers.load(options, made[1].tree, "propagation", "--reader", made[3].tree, "--rate", 50,
                        "--seconds", max(0.4, 4 * options.seconds))


def speed(options, text):
    with contextlib.ExitStack() as stack:
        rings = [stack.enter_context(ring(name, options)) for name in kinds(options)]
        subjects = [made.subject() for made in rings]
        servers.prepare(options, subjects, ["mixed"])
        results = {}
        for number in range(options.rounds):
            for case, found in servers.measure(options, subjects, CASES, 1).items():
                for name, some in found.items():
                    results.setdefault(case, {}).setdefault(name, []).extend(some)
            for case, do in ((EVERYWHERE, create_everywhere), (PROPAGATION, propagation)):
                for made in rings if number % 2 else rings[::-1]:
                    os.sync()
                    results.setdefault(case, {}).setdefault(made.kind, []).append(do(options, made))
                say(f"round {number + 1}: {case[0]}: " + ", ".join(
                    f"{name} {found[-1]['per_second']:.0f}/s, {found[-1]['p50_us']:.0f} us"
                    for name, found in results[case].items()))
            os.sync()
            for window, found in ring_alone(options, rings[0]).items():
                results.setdefault(("message", window), {}).setdefault(RING, []).append(found)
                say(f"round {number + 1}: {window} messages at once: {found['per_second']:.0f}/s, "
                    f"{found['p50_us']:.0f} us")
    show_speed(options, text, results)


def show_speed(options, text, results):
    text.raw["speed"] = report.with_text_keys(results)
    names = kinds(options)
    text.add("## Three nodes\n\nOperations a second (microseconds of the median / of 99 in 100), medians "
             "of the rounds. Propagation: from the start of a write on node 1 to the moment at which a "
             "reader on node 3 gets it.\n")
    alone = {case: found for case, found in results.items() if case[0] == "message"}
    rates = {case: found for case, found in results.items()
             if case != PROPAGATION and case not in alone}
    text.add(report.rates({**rates, PROPAGATION: results[PROPAGATION], **alone}, [*names, RING]))
    text.add("The ring alone: messages of 600 bytes through corosync and back, so many at once. A "
             "creation takes two of them, one after the other, so no more than:\n")
    text.add(report.table(["creations, threads", *(f"share: {report.NAMES[name]}" for name in names)], [
        [str(window), *(report.ratio_text([2 * one["per_second"] / other["per_second"] for one, other
                                           in zip(results[("create", window)][name], found[RING])])
                        for name in names)]
        for (_, window), found in alone.items()]))
    text.add("Processor time of all daemons and corosyncs, microseconds for each operation.\n")
    text.add(report.processor_times({case: results[case] for case in CASES}, names))
    text.plot("ring-speed", "Operations a second, three nodes", report.bars(rates, names), (10, 5))
    if ORIGINAL not in names:
        return
    text.add(report.comparison(rates, DURABLE, ORIGINAL, AIMS))
    rows = []
    for key, most in ((P50, 1), (P99, 0.5)):
        shares = [1 / ratio for ratio in report.ratios(
            results[PROPAGATION][DURABLE], results[PROPAGATION][ORIGINAL], key)]
        middle = statistics.median(shares)
        rows.append([f"propagation, {key[:3]}", report.ratio_text(shares), f"≤ {most}",
                     report.verdict(middle, most, at_most=True)])
    text.add(report.table(["time", "cfsgate, durable : original", "aim", "met"], rows))
    text.plot("ring-ratios", "cfsgate, durable, against the original as it is, three nodes",
              report.ratio_bars(rates, DURABLE, ORIGINAL, AIMS), (9, 4.5))
    for case in (("create", 8), PROPAGATION):
        text.plot(f"ring-latency-{case[0]}", f"How long it takes, three nodes: {report.case_name(case)}",
                  report.distributions(results, case, names), (7, 4))


# --- Joins ---

def join_once(options, made, canary):
    """An empty node 3 joins, while 8 write on node 1. (seconds, longest wait of a writer)"""
    state = made[3].disk()
    for name in os.listdir(state):
        path = os.path.join(state, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    seconds = 3 if options.quick else 8
    writers = servers.start_load(options, made[1].tree, "create", "--threads", 8, "--seconds", seconds,
                                 "--rate", 300)
    time.sleep(1)
    begin = time.monotonic()
    made[3].start_daemon(wait=False)

    def there():
        try:
            with open(f"{made[3].tree}/{canary}", "rb") as file:
                return len(file.read()) > 0
        except OSError:
            return False
    wait_for(there, 120, "node 3 has the tree", every=0.001)
    took = time.monotonic() - begin
    written = servers.result_of(writers, errors_allowed=True)
    made[3].kill_daemon()
    made.wait_writable([1, 2])
    return {"join": took, "stall": written["max_us"] / 1e6, "errors": written["errors"],
            "first_error": written["first_error"]}


def join(options, text):
    files, size = (500, 2560) if options.quick else (20000, 2621)
    results = {}
    with tree(options, files, size) as database:
        for name in kinds(options):
            with ring(name, options, 3, database, running=[1, 2]) as made:
                for number in range(options.rounds):
                    found = join_once(options, made, last_file(files))
                    results.setdefault(name, []).append(found)
                    say(f"join, round {number + 1}: {name}: {found['join']:.3f} s, "
                        f"longest wait {found['stall']:.3f} s {found['first_error']}")
    text.raw["join"] = results
    text.add(f"## Join\n\nNode 3 starts with nothing and gets {files} files, {files * size >> 20} MiB, "
             "while 8 threads on node 1 create 300 files a second. From the start of the program until "
             "node 3 shows the tree; the longest that a writer waited.\n")
    text.add(seconds_table(results, (("whole tree there", "join", 1), ("longest wait of a writer",
                                                                       "stall", 0.5))))


def seconds_table(results, lines):
    rows = []
    for what, key, most in lines:
        cells = []
        for name in (DURABLE, ORIGINAL):
            values = [found[key] for found in results.get(name, [])]
            cells.append(f"{statistics.median(values):.3f} s ({min(values):.3f}–{max(values):.3f})"
                         if values else "–")
        ours = statistics.median(found[key] for found in results[DURABLE])
        rows.append([what, *cells, f"≤ {most} s" if most else "",
                     report.verdict(ours, most, at_most=True)])
    return report.table(["", "cfsgate, durable", "original", "aim", "met"], rows)


# --- Partitions ---

FORMED = re.compile(r"^(\w+ \d+ [\d:.]+) .*Members\[(\d+)\]:", re.MULTILINE)


def formed_at(node, members):
    """When corosync of that node last had that many members, by its log; seconds since 1970."""
    found = [match[1] for match in FORMED.finditer(node.log("corosync", 20000))
             if int(match[2]) == members]
    if not found:
        return None
    moment = datetime.datetime.strptime(f"{time.localtime().tm_year} {found[-1]}",
                                        "%Y %b %d %H:%M:%S.%f")
    return moment.timestamp()


def partition_once(made, files, round_number):
    """1 | 2 3, then `files` files are changed on node 2; seconds from the ring to the same tree."""
    made.partition([2, 3], [1])
    made.wait_ring([2, 3], members=2)
    made.wait_ring([1], quorate=False, members=1)
    made.wait_writable([2, 3])
    content = f"{round_number}".encode() * 512
    directories = directories_for(files)
    for number in range(files):
        with open(f"{made[2].tree}/d{number % directories}/f{number}", "wb") as file:
            file.write(content)
    last = f"{made[1].tree}/{last_file(files)}"
    before = time.time()
    made.heal()

    def same():
        try:
            with open(last, "rb") as file:
                return file.read() == content
        except OSError:
            return False
    wait_for(same, 120, "node 1 has the changes", every=0.001)
    there = time.time()
    formed = [moment for node in made.nodes if (moment := formed_at(node, 3)) and moment >= before]
    made.wait_writable([1, 2, 3])
    return {"sync": there - max(formed), "ring": max(formed) - before, "writable": time.time() - there}


def partition(options, text):
    files = 100 if options.quick else 1000
    results = {}
    with tree(options, files, 1024) as database:
        for name in kinds(options):
            with ring(name, options, 3, database) as made:
                for number in range(options.rounds):
                    found = partition_once(made, files, number)
                    results.setdefault(name, []).append(found)
                    say(f"partition, round {number + 1}: {name}: ring {found['ring']:.3f} s, "
                        f"sync {found['sync']:.3f} s")
    text.raw["partition"] = results
    text.add(f"## After a partition\n\nNode 1 is cut off, {files} files are changed on the others, the "
             "network is whole again. The ring: from there to the moment at which the last corosync "
             "says that it has three members. The sync: from there until node 1 shows the last change.\n")
    text.add(seconds_table(results, (("ring", "ring", None), ("sync", "sync", 0.3))))


# --- Growth ---

GROWTH_CASES = [("create", 1), ("create", 8), ("create", 32)]


def growth_of(options, rings):
    """{name: {case: results}}"""
    measured = servers.measure(options, [made.subject() for made in rings], GROWTH_CASES)
    return {made.kind: {report.case_name(case): measured[case][made.kind] for case in GROWTH_CASES}
            for made in rings}


def nodes(options, text):
    counts = [2, 3] if options.quick else [3, 5, 8]
    results = {name: {} for name in kinds(options)}
    for count in counts:
        with contextlib.ExitStack() as stack:
            rings = [stack.enter_context(ring(name, options, count)) for name in kinds(options)]
            for name, found in growth_of(options, rings).items():
                results[name][count] = found
        say(f"{count} nodes are done")
    text.raw["nodes"] = results
    text.add("## More nodes\n\nOperations a second on node 1 (microseconds of the median / of 99 in "
             "100); all nodes share this machine's processors.\n")
    show_growth(text, results, counts, "nodes", "nodes")


def show_growth(text, results, counts, what, name):
    rows = []
    cases = list(next(iter(results.values()))[counts[0]])
    for case in cases:
        for kind, found in results.items():
            rows.append([case, report.NAMES[kind], *(
                f"{report.number(report.median(found[count][case]))} "
                f"({report.number(report.median(found[count][case], 'p50_us'))} / "
                f"{report.number(report.median(found[count][case], 'p99_us'))})" for count in counts)])
    text.add(report.table(["what, threads", "", *(f"{count} {what}" for count in counts)], rows))
    for case in cases:
        series = {kind: (counts, [report.median(found[count][case]) for count in counts])
                  for kind, found in results.items()}
        text.plot(f"growth-{name}-{case.replace(', ', '-')}", f"{case}: how it goes with more {what}",
                  report.curves(series, what, "operations a second", log_x=what != "nodes"), (7, 4))


def entries(options, text):
    counts = [100, 1000] if options.quick else [1000, 20000, 200000]
    results = {name: {} for name in kinds(options)}
    joins = {name: {} for name in kinds(options)}
    for count in counts:
        with tree(options, count, 256) as database, contextlib.ExitStack() as stack:
            rings = [stack.enter_context(ring(name, options, 3, database, running=[1, 2]))
                     for name in kinds(options)]
            for made in rings:
                joins[made.kind][count] = join_once(options, made, last_file(count))
                made.start(3)
                made.wait_writable([1, 2, 3])
            for name, found in growth_of(options, rings).items():
                results[name][count] = found
        say(f"{count} entries are done")
    text.raw["entries"] = {"speed": results, "join": joins}
    text.add("## A larger tree\n\nThree nodes; files of 256 bytes.\n")
    show_growth(text, results, counts, "entries", "entries")
    text.add(report.table(
        ["join of an empty node", *(f"{count} entries" for count in counts)],
        [[f"{report.NAMES[name]}: {label}", *(f"{found[count][key]:.2f} s" for count in counts)]
         for name, found in joins.items()
         for key, label in (("join", "whole tree there"), ("stall", "longest wait of a writer"))]))
    text.plot("growth-entries-join", "How long an empty node takes to have the tree", report.curves(
        {name: (counts, [found[count]["join"] for count in counts]) for name, found in joins.items()},
        "entries", "seconds", log_x=True), (7, 4))


def main():
    options = arguments()
    servers.in_own_mounts()
    servers.check_options(options)
    cluster_lab.check_machine({"qdevice": False})
    text = report.Report(options, "A cluster")
    for part in options.parts.split(","):
        {"speed": speed, "join": join, "partition": partition, "nodes": nodes,
         "entries": entries}[part](options, text)
    text.write("ring")


if __name__ == "__main__":
    main()
