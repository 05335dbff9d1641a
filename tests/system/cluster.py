# SPDX-License-Identifier: Apache-2.0
"""Clusters for tests: the nodes of scripts/cluster, with the daemon under test.

    with cluster.Cluster(3) as ring:
        ring.start_daemons()
        ring[1].tree        # /etc/pve of node 1, as a path from here

Defaults are those that form and fail fastest: udpu, and a token of one second. See Cluster and
Node in scripts/lib/cluster_lab.py, and docs/cluster-lab.md.
"""
import os
import signal
import sys

import cfs

REPOSITORY = os.path.dirname(os.path.dirname(cfs.HERE))
sys.path.insert(0, os.path.join(REPOSITORY, "scripts", "lib"))

# pylint: disable=wrong-import-position,unused-import
import cluster_lab  # noqa: E402
from cluster_lab import DISK, QNETD, LabError, Process, wait_for  # noqa: E402,F401


def why_not():
    """The reason for which no cluster can run here, or nothing: for pytest's skipif."""
    if os.geteuid() != 0:
        return "a cluster of namespaces needs root"
    missing = cluster_lab.missing_packages(qdevice=True)
    return f"missing packages: {' '.join(missing)}" if missing else None


class Cluster(cluster_lab.Cluster):
    """`daemon`: further arguments of cfsgated. Options of corosync as in cluster_lab.DEFAULTS.

    While it is up it is in cfs.live: a failed test shows its logs, and one that hangs loses it.
    """

    def __init__(self, count=3, daemon=(), **options):
        daemon_command = options.pop("daemon_command", None)
        if daemon_command is None and cfs.find_program("cfsgated"):
            daemon_command = [cfs.program("cfsgated"), "--foreground", *daemon]
        super().__init__(count, daemon_command or (), **options)

    @property
    def mount(self):
        """For the heading of its logs."""
        return f"{cluster_lab.MOUNT} of {len(self.nodes)} nodes"

    def log(self):
        return self.logs()

    def up(self):
        cfs.live.append(self)
        super().up()

    def down(self):
        if self in cfs.live:
            cfs.live.remove(self)
        super().down()

    def abort(self):
        """Power off, everywhere. Whoever waits for something in a node gets an error."""
        for node in list(self.all.values()):
            if node.init:
                node.init.send(signal.SIGKILL)

    def start_daemons(self):
        """On all nodes that are on; returns when each has mounted."""
        starting = [node for node in self.nodes if node.on()]
        for node in starting:
            node.start_daemon(wait=False)
        for node in starting:
            node.wait_mounted()
