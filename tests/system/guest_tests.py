# SPDX-License-Identifier: Apache-2.0
"""Tests that run in a guest kernel, written like any others.

A file says `pytestmark = pytest.mark.guest(memory=...)`, the arguments those of guest.Guest. Its tests
are collected here; a pytest in a guest runs them, with all their fixtures, and each of its reports
becomes the test's report here. One guest runs the whole file. If it dies, the test that ran has failed
and another guest goes on with the next.
"""
import json
import os

import pytest

import cfs
import guest

TEST_SECONDS_MAX = 120
START_SECONDS_MAX = 60  # of pytest and of a file's fixtures
SLOWER = 3  # a guest; conftest.py allows as much
INSIDE = "CFSGATE_INSIDE_GUEST"
REPORTS = 3  # file descriptor


def configure(config):
    config.addinivalue_line("markers", "guest(**options): runs in a guest kernel, see guest_tests.py")
    config.pluginmanager.register(Inside(config) if inside() else Host(config))


def inside():
    return INSIDE in os.environ


class Inside:
    """In the guest: reports go to the host, one in a line."""

    def __init__(self, config):
        self.config = config
        self.output = os.fdopen(REPORTS, "w")

    def pytest_runtest_logreport(self, report):
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.output.write(json.dumps(data) + "\n")
        self.output.flush()


class Host:
    """On the host: tests with the mark are handed to a guest."""

    def __init__(self, config):
        self.config = config
        self.run = None  # of the file whose tests are running

    def pytest_collection_modifyitems(self, items):
        items = [item for item in items if item.get_closest_marker("guest")]
        if not items:
            return
        reason = guest.missing()
        if not reason and cfs.find_program("cfsgated") and cfs.sanitized():
            reason = "programs with a sanitizer do not run in a guest: it has too few addresses"
        if reason:
            for item in items:
                item.add_marker(pytest.mark.skip(reason=reason))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        if not item.get_closest_marker("guest") or item.get_closest_marker("skip"):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        try:
            for report in self.reports(item):
                item.ihook.pytest_runtest_logreport(report=report)
        finally:
            if self.run and (nextitem is None or nextitem.path != item.path):
                self.end(self.run.job)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def reports(self, item):
        """What the guest reports about this test."""
        try:
            if not self.run:
                self.run = Run(self.config, item)
            while True:
                report = self.run.report(item)
                yield report
                if report.when == "teardown":
                    return
        except (AssertionError, OSError, guest.subprocess.TimeoutExpired) as error:
            text = f"{type(error).__name__}: {error}"
            if self.run:
                text += f"\n{self.run.job.stderr[-3000:]}\n{self.run.kernel.console()}"
                self.end()
            yield failure(item, text)

    def end(self, job=None):
        """`job`: what should end by itself first."""
        try:
            if job:
                job.wait(START_SECONDS_MAX)
        except (AssertionError, guest.subprocess.TimeoutExpired):
            pass  # every test has reported; nothing of it remains in any case
        finally:
            self.run.kernel.stop()
            self.run = None

    def pytest_sessionfinish(self):
        if self.run:
            self.end()
        guest.abort_all()


class Run:
    """A pytest in a guest: this test and all that follow in its file."""

    def __init__(self, config, first):
        items = [item for item in first.session.items if item.path == first.path]
        items = items[items.index(first):]
        self.config = config
        self.kernel = guest.Guest(seconds=sum(map(seconds_of, items)) + START_SECONDS_MAX,
                                  see=[path for path in [os.environ.get("CFSGATE_SUITES")] if path],
                                  **first.get_closest_marker("guest").kwargs)
        self.kernel.start()
        environment = {name: value for name, value in os.environ.items()
                       if name.startswith(("CFSGATE_", "PYTEST_ADDOPTS", "PYTHON"))}
        command = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                   f"--rootdir={config.rootpath}", *[node_of(item) for item in items]]
        self.job = self.kernel.start_job(
            ["bash", "-c", f'exec {REPORTS}>&1 >&2 "$@"', "bash", *command],
            env={**environment, INSIDE: "1"}, cwd=str(config.invocation_params.dir))

    def report(self, item):
        line = self.job.line(seconds_of(item) + START_SECONDS_MAX)
        assert line is not None, f"pytest ended with {self.job.returncode} in the guest"
        report = self.config.hook.pytest_report_from_serializable(config=self.config,
                                                                  data=json.loads(line))
        assert report.nodeid == item.nodeid, f"a report about {report.nodeid}"
        if isinstance(report.longrepr, list):  # of a skipped test; JSON has no tuples
            report.longrepr = tuple(report.longrepr)
        return report


def seconds_of(item):
    marker = item.get_closest_marker("seconds")
    return SLOWER * (marker.args[0] if marker else TEST_SECONDS_MAX)


def node_of(item):
    return str(item.path) + item.nodeid[item.nodeid.index("::"):]


def failure(item, text):
    return pytest.TestReport(nodeid=item.nodeid, location=item.location, keywords={}, outcome="failed",
                             longrepr=text, when="call")
