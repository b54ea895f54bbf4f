"""A SLURM of one node, started for a test where its programs are installed (Debian: slurm-wlm, munge)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ports import free_port

DAEMONS = ("munged", "slurmctld", "slurmd", "slurmstepd")
CONFIG = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
SlurmdPort={second_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
PluginDir={plugins}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def answers() -> bool:
    """Whether a SLURM is at work here already."""
    if shutil.which("sbatch") is None or shutil.which("sinfo") is None:
        return False
    return subprocess.run(["sinfo"], capture_output=True, timeout=200, check=False).returncode == 0


def why_not() -> str:
    """Why none can be started; empty if one can."""
    missing = [name for name in (*DAEMONS, "sbatch") if _which(name) is None]
    if missing:
        return f"no SLURM answers, and {', '.join(missing)} is not installed"
    return "" if os.geteuid() == 0 else "no SLURM answers, and only root can start one"


@contextmanager
def one_node_slurm() -> Iterator[dict[str, str]]:
    """Start it; yields the variables of its users' environment."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # munged refuses sockets that others could not reach
        (folder / "state").mkdir()
        (folder / "spool").mkdir()
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o400)
        prefix = Path(_which("slurmctld") or "").resolve().parents[1]
        config = CONFIG.format(
            host=socket.gethostname().partition(".")[0],
            folder=folder,
            port=free_port(),
            second_port=free_port(),
            plugins=next(prefix.glob("lib/*/slurm*/auth_munge.so")).parent,
        )
        (folder / "slurm.conf").write_text(config)
        environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        munged = ("--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key")
        files = (
            f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/seed",
        )
        try:
            _start("munged", *munged, *files, "--num-threads=2")
            _start("slurmctld", "-c", **environment)
            _start("slurmd", "-d", str(_which("slurmstepd")), **environment)
            _wait_until_idle(environment)
            yield environment
        finally:
            for daemon in ("slurmd", "slurmctld", "munged"):
                _end(folder / f"{daemon}.pid")


def _start(name: str, *words: str, **environment: str) -> None:
    subprocess.run([str(_which(name)), *words], env={**os.environ, **environment}, check=True, timeout=200)


def _wait_until_idle(environment: dict[str, str]) -> None:
    for _ in range(1000):
        words = ["sinfo", "--noheader", "--format=%T"]
        done = subprocess.run(
            words, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=200
        )
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    raise RuntimeError(f"SLURM does not come up: {done.stdout}{done.stderr}")


def _end(pid_file: Path) -> None:
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    try:
        os.kill(pid, signal.SIGTERM)
        for _ in range(500):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
