# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one daemon for each file of tests, a fresh directory of its tree for each test."""
import os
import re
import threading

import pytest

import cfs
import guest_tests

TEST_SECONDS_MAX = 120


def _missing():
    if os.geteuid() != 0:
        return "system tests mount file systems: they need root"
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    return None


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): how long this test may take at most")
    guest_tests.configure(config)


def pytest_collection_modifyitems(items):
    reason = _missing()
    if reason:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))
        return
    for name in ("cfsgated", "cfsgate"):
        if not cfs.find_program(name):
            raise pytest.UsageError(f"{name} is not in CFSGATE_BUILD={cfs.build_directory()!r}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A test that hangs gets its daemons killed: what waits for them then fails."""
    marker = item.get_closest_marker("seconds")
    seconds = marker.args[0] if marker else TEST_SECONDS_MAX
    timer = threading.Timer(seconds * (3 if _slow() else 1), cfs.abort_all)
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()


def _slow():
    return guest_tests.inside() or (_missing() is None and cfs.sanitized())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for daemon in cfs.live:
            report.sections.append((f"log of the daemon at {daemon.mount}", daemon.log()))


def pytest_sessionfinish():
    cfs.abort_all()


@pytest.fixture(scope="module")
def daemon():
    """The file's daemon. Stopped at the end, which also is a test."""
    instance = cfs.Daemon()
    instance.deaths = 0
    try:
        instance.start()
        yield instance
        assert instance.deaths == 0, "the daemon died during a test"
        instance.stop()
    finally:
        instance.remove()


@pytest.fixture
def mount(daemon):
    """The mount point; the daemon is started again if the test before has killed it."""
    if not daemon.alive():
        daemon.deaths += 1
        daemon.kill()
        daemon.start()
    return daemon.mount


@pytest.fixture
def folder(mount, request):
    """A fresh directory in the tree."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:60].strip("-")
    path = os.path.join(mount, name)
    os.mkdir(path)
    return path


@pytest.fixture
def make_daemon():
    """Makes daemons of the test's own, not started; removed at the end, whatever happened."""
    made = []

    def make(*arguments, **options):
        made.append(cfs.Daemon(*arguments, **options))
        return made[-1]

    yield make
    for daemon in made:
        daemon.remove()
