# SPDX-License-Identifier: Apache-2.0
"""The benchmarks themselves: that they do what they say, not how fast anything is."""
import json
import os
import subprocess
import sys

import pytest

import cfs

BENCH = os.path.join(os.path.dirname(cfs.HERE), "bench")
sys.path.insert(0, BENCH)

import report  # noqa: E402  pylint: disable=wrong-import-position

LOAD = os.path.join(os.path.abspath(cfs.build_directory()), "tests/bench/fs_load")
EMPTY = os.path.join(os.path.abspath(cfs.build_directory()), "tests/bench/empty_fuse")

WORKLOADS = ["create", "create-shared", "overwrite-4k", "overwrite-1m", "rename", "mkdir", "mixed",
             "read", "stat", "readdir-1000"]

pytestmark = pytest.mark.skipif(not os.path.exists(LOAD),
                                reason="fs_load is not in this build (target fs_load)")


def load(directory, *arguments, code=0):
    done = cfs.run(LOAD, *arguments[:-1], directory, *arguments[-1], timeout=60)
    assert done.returncode == code, f"exit {done.returncode}: {done.stderr}{done.stdout}"
    return json.loads(done.stdout)["results"]


def check(result):
    assert result["errors"] == 0, result["first_error"]
    assert result["operations"] > 0
    assert sum(count for _, count in result["histogram"]) == result["operations"]
    assert 0 < result["p50_us"] <= result["p99_us"] <= result["max_us"]
    assert result["max_us"] <= 1e6 * result["seconds"] * result["threads"]
    rate = result["operations"] / result["seconds"]
    assert result["per_second"] == pytest.approx(rate)
    uppers = [upper for upper, _ in result["histogram"]]
    assert uppers == sorted(uppers)


def all_workloads(directory, more=()):
    results = load(directory, "--threads", "1,3", "--seconds", "0.05", [*WORKLOADS, *more])
    assert [(result["workload"], result["threads"]) for result in results] == [
        (name, threads) for name in [*WORKLOADS, *more] for threads in (1, 3)]
    for result in results:
        check(result)
    assert sorted(os.listdir(f"{directory}/fs_load")) == sorted(
        ["read", "read.complete", "readdir-1000", "readdir-1000.complete"]
        + (["grep"] if "grep" in more else []))


def test_load_on_a_directory(tmp_path):
    all_workloads(tmp_path, ["grep", "fdatasync"])
    assert len(os.listdir(tmp_path / "fs_load/readdir-1000")) == 1000


def test_operations_and_rate_are_kept(tmp_path):
    result, = load(tmp_path, "--operations", "70", "--threads", "4", "--keep", ["create"])
    check(result)
    assert result["operations"] == 70
    made = [os.path.join(folder, name)
            for folder, _, names in os.walk(tmp_path / "fs_load/scratch") for name in names]
    assert len(made) == 70 and all(os.path.getsize(path) == 512 for path in made)
    result, = load(tmp_path, "--operations", "20", "--rate", "100", "--seconds", "9", ["rename"])
    check(result)
    assert result["operations"] == 20 and result["seconds"] >= 0.19
    assert not os.path.exists(tmp_path / "fs_load/scratch")


def test_what_fails_is_counted(tmp_path):
    assert load(tmp_path, "--prepare", ["stat"]) == []
    os.unlink(tmp_path / "fs_load/read/f50")
    result, = load(tmp_path, "--operations", "100", ["stat"], code=3)
    assert result["errors"] == 1 and "No such file" in result["first_error"]
    assert result["operations"] == 99


@pytest.mark.parametrize("arguments", [[], ["."], [".", "nonsense"], ["--rate", "x", ".", "stat"],
                                       ["--threads", "0", ".", "stat"], ["--wrong", "1", ".", "stat"],
                                       ["/nowhere", "stat"], [".", "propagation"]])
def test_wrong_arguments_are_refused(arguments, tmp_path):
    done = cfs.run(LOAD, *arguments, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("fs_load: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_load_on_a_mount():
    with cfs.Daemon() as daemon:
        all_workloads(daemon.mount)
        result, = load(daemon.mount, "--reader", daemon.mount, "--operations", "5", "--rate", "200",
                       ["propagation"])
        check(result)
        assert result["operations"] == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_the_empty_file_system(tmp_path):
    process = subprocess.Popen([EMPTY, tmp_path], cwd="/")
    try:
        cfs.wait_for(lambda: cfs.mounts_at(str(tmp_path)), "it has mounted")
        all_workloads(tmp_path)
    finally:
        process.terminate()
        assert process.wait(20) == 0
        cfs.remove_mounts(str(tmp_path))


# --- The report ---

def fake(*rates):
    return [{"per_second": rate, "p50_us": 1000 / rate, "p99_us": 9, "max_us": 9,
             "histogram": [[10, 5], [20, 5]]} for rate in rates]


def test_a_ratio_is_that_of_a_round():
    ours, theirs = fake(100, 300, 50), fake(50, 100, 100)
    assert report.ratios(ours, theirs) == [2, 3, 0.5]
    # A time that is half as long is twice as good.
    assert report.ratios(ours, theirs, "p50_us") == pytest.approx([2, 3, 0.5])


def test_a_report_says_which_aims_are_met(tmp_path):
    class Options:
        directory, rounds, seconds, report = str(tmp_path), 2, 1, str(tmp_path / "out")
    os.mkdir(Options.report)
    results = {("create", 1): {"durable": fake(100, 300), "original": fake(50, 100)},
               ("read", 8): {"durable": fake(100, 100), "original": fake(100, 50)}}
    aims = {("create", 1): (2.5, "per_second"), ("read", 8): (1.6, "per_second"),
            ("not", 1): (1, "per_second")}
    text = report.Report(Options, "A title")
    compared = report.comparison(results, "durable", "original", aims)
    assert "| create, 1 | **2.50** (2.00–3.00) | ≥ 2.5 | yes |" in compared
    assert "| read, 8 | **1.50** (1.00–2.00) | ≥ 1.6 | **no** |" in compared
    assert "not, 1" not in compared
    text.add(compared)
    text.add(report.rates(results, ["durable", "empty"]))
    names = ["durable", "original"]
    text.plot("one", "First", report.bars(results, names))
    text.plot("two", "Second", report.ratio_bars(results, *names, aims))
    text.plot("three", "Third", report.distributions(results, ("create", 1), names))
    text.plot("four", "Fourth", report.curves({"durable": ([1, 10], [3, 2])}, "x", "y", True))
    text.write("outcome")
    with open(f"{Options.report}/outcome.md", encoding="utf-8") as file:
        written = file.read()
    assert written.startswith("# A title\n") and compared in written
    drawn = {name for name in os.listdir(Options.report) if name.endswith(".png")}
    assert drawn == ({"one.png", "two.png", "three.png", "four.png"} if report.plt else set())
    for name in drawn:
        assert f"]({name})" in written
        assert os.path.getsize(f"{Options.report}/{name}") > 1000
