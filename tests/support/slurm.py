"""A Slurm of one node, of the programs that a cluster runs, started for a test: no systemd, no control groups."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.support.command_line import wait_for

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]

# A job of the partition `high` takes the place of one of `low`, which is put back into the queue. Such a one may begin
# again after `cred_expire` seconds (120 by default), once it is looked for, every `bf_interval` (30). Three processors,
# memory and GPUs, however many there are; what a job of `gpu` is given of these is no device, but a number.
CONF = """\
ClusterName=test
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=bf_interval=1,sched_interval=1
GresTypes=gpu
NodeName={node} NodeAddr=127.0.0.1 CPUs=3 RealMemory=131072 Gres=gpu:2
PartitionName=low Nodes={node} Default=YES PriorityTier=1
PartitionName=high Nodes={node} PriorityTier=2 PreemptMode=OFF
PartitionName=gpu Nodes={node} PriorityTier=1
"""


class Slurm:
    """The commands of a running Slurm."""

    def __init__(self, conf: Path) -> None:
        self.environment = {"SLURM_CONF": str(conf)}

    def __call__(self, *words: str) -> str:
        """What a command of Slurm's prints. Raises CalledProcessError."""
        environment = os.environ | self.environment
        return subprocess.run(words, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout

    def running(self, partition: str = "low") -> list[str]:
        """The jobs that run now, or were stopped by SIGSTOP; a job of an array as ARRAY_TASK."""
        return sorted(self("squeue", "--noheader", "-t", "RUNNING,STOPPED", "-p", partition, "-o", "%i").split())

    def restarts(self, job: str) -> int:
        """How often Slurm has put a job back into the queue."""
        found = re.search(r"Restarts=(\d+)", self("scontrol", "show", "job", job))
        assert found
        return int(found[1])


@contextmanager
def running() -> Iterator[Slurm]:
    """Start munged, slurmctld and slurmd, and end them with what they run."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as ending:  # names of sockets must be short
        folder = Path(name)
        for each in ("state", "spool"):
            (folder / each).mkdir()
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        conf = folder / "slurm.conf"
        node = socket.gethostname().partition(".")[0]
        ports = {"controller": free_port(), "daemon": free_port()}
        conf.write_text(CONF.format(folder=folder, node=node, user=getpass.getuser(), **ports))
        version = subprocess.run(["slurmd", "-V"], check=True, capture_output=True, text=True).stdout.split()[-1]
        none = "disabled" if int(version.partition(".")[0]) >= 23 else "cgroup/v1"  # loaded, and not used
        (folder / "cgroup.conf").write_text(f"CgroupPlugin={none}\n")
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        slurm = Slurm(conf)

        def start(*words: str) -> None:
            with (folder / f"{words[0]}.out").open("w") as said:
                process = subprocess.Popen(
                    words, stdout=said, stderr=said, env=os.environ | slurm.environment, start_new_session=True
                )
            ending.callback(process.wait)
            ending.callback(process.terminate)

        files = [f"--{part}-file={folder}/munge.{part}" for part in ("key", "pid", "log", "seed")]
        start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
        wait_for((folder / "munge.socket").exists)
        start("slurmctld", "-D")
        start("slurmd", "-D")
        wait_for(
            lambda: (
                "idle"
                in subprocess.run(
                    ["sinfo", "-h", "-o", "%T"],
                    env=os.environ | slurm.environment,
                    capture_output=True,
                    text=True,
                    check=False,
                ).stdout.split()
            )
        )
        try:
            yield slurm
        finally:
            slurm("scancel", "--user", getpass.getuser())
            wait_for(lambda: not slurm("squeue", "--noheader"))


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
