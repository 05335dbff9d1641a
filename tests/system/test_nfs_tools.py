# SPDX-License-Identifier: Apache-2.0
"""Administrators' tools on the kernel's NFS mount get what they get on the one by FUSE: the same tests
(test_tools.py) with another mount."""
import pytest

import cfs
import kernel_client
from test_tools import *  # noqa: its tests and fixtures

pytestmark = [pytest.mark.guest(memory=1024),
              pytest.mark.skipif(not cfs.LONG, reason="takes long: scripts/test --long")]


@pytest.fixture(scope="module")
def daemon():
    with kernel_client.Daemon() as instance:
        yield kernel_client.View(instance)


@pytest.fixture(scope="module")
def lenient_daemon():
    with kernel_client.Daemon(arguments=["--chmod", "lenient"]) as instance:
        yield kernel_client.View(instance)
