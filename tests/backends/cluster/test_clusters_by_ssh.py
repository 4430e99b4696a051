"""``--cluster ssh:HOST,HOST`` on real hosts: two network namespaces with an sshd each, which asyncssh reaches as the user's configuration says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Cli, messages, signal_all, wait_for, with_tag
from dask_clusters import certificate
from lasting_processes import command_of
from network_hosts import NetworkHost, NetworkHosts, start_sshd
from ssh_hosts import write_sshd_config

pytestmark = pytest.mark.sampled
BATCH = [sys.executable, "-m", "manyhands", "batch", "--backend", "dask"]
TO = ["--backend", "dask", "--cluster", "ssh:n1,n2"]


@pytest.fixture(scope="module")
def home(_network_hosts: NetworkHosts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a user who knows the hosts. ``old`` has another version of manyhands, ``bare`` has no Python, ``gone`` refuses, and of
    ``stranger`` the key is not known."""
    pytest.importorskip("distributed")
    pytest.importorskip("asyncssh")
    found, hosts = tmp_path_factory.mktemp("home"), _network_hosts
    there = {"old": ("echo 0.0.1", 2201), "bare": ("echo no python >&2; exit 127", 2202)}
    for name, (command, port) in there.items():
        config = write_sshd_config(hosts.folder, name, hosts.n1.address, port)
        config.write_text(f"{config.read_text()}ForceCommand {command}\n")
        start_sshd(hosts.n1, config)
    ports = {name: port for name, (_, port) in there.items()} | {"gone": 2203, "stranger": 22}
    (found / ".ssh").mkdir()
    (found / ".ssh" / "config").write_text(
        f"Host stranger\n  UserKnownHostsFile {os.devnull}\n"
        + "".join(f"Host {name}\n  HostName {hosts.n1.address}\n  Port {port}\n" for name, port in ports.items())
        + "".join(f"Host {one.name}\n  HostName {one.address}\n" for one in (hosts.n1, hosts.n2))
        + f"Host *\n  UserKnownHostsFile {found}/known\n"
        + f"  User root\n  IdentityFile {hosts.folder}/id\n  IdentitiesOnly yes\n"
    )
    key = (hosts.folder / "host.pub").read_text()
    names = [hosts.n1.address, hosts.n2.address, *(f"[{hosts.n1.address}]:{port}" for _, port in there.values())]
    (found / "known").write_text("".join(f"{name} {key}" for name in names))
    return found


@pytest.fixture
def hosts(network_hosts: NetworkHosts, home: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[NetworkHosts]:
    """The hosts, on which nothing runs in the end."""
    environment |= {"HOME": str(home), "DASK_TEMPORARY_DIRECTORY": str(tmp_path / "dask")}
    yield network_hosts
    wait_for(lambda: not left(network_hosts.n1) + left(network_hosts.n2))


def left(host: NetworkHost) -> list[str]:
    """What runs there, but for sshd."""
    return [name for pid in host.pids() if (name := command_of(pid)) and not name.startswith("sshd: /")]


def test_functions_on_two_hosts(hosts: NetworkHosts, cli: Cli, tmp_path: Path) -> None:
    """When the batch has ended nothing of it is left there, nor any folder of Dask's."""
    done = cli("batch.call", "math:sqrt", "--type", "int", *TO, "--insecure", "--", "1", "4", "9", "16")
    assert (done.returncode, done.stdout) == (0, "1.0\n2.0\n3.0\n4.0\n"), done.stderr
    assert messages(done.stderr)[0].endswith("/status on n1")
    wait_for(lambda: not [*tmp_path.glob("dask/**/worker-*")])


def test_commands_with_tls(hosts: NetworkHosts, cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """The certificates of Dask's configuration are those of all; each host has a part of the jobs."""
    environment |= certificate(tmp_path, "right") | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    done = cli("batch", "sleep 0.5; echo {}", "--shell", *TO, "--run-id", "tls", "-j", "4", "--", *"abcdefgh")
    assert (done.returncode, done.stdout.split()) == (0, [*"abcdefgh"]), done.stderr
    jobs = [json.loads(line) for line in cli("batch.export", "tls").stdout.splitlines()]
    workers = {one["host"].rpartition(":")[0] for one in jobs}
    assert workers == {f"tls://{hosts.n1.address}", f"tls://{hosts.n2.address}"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_batch_that_is_ended(hosts: NetworkHosts, number: int, environment: dict[str, str], tmp_path: Path) -> None:
    """By Ctrl-C, or by -9: its jobs end, and so does what it has started on the hosts."""
    command = [*BATCH, "--cluster", "ssh:n1,n2", "--insecure", "sleep {}", "--run-id", "ends", "--", "600", "601", "602"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: sum(name.startswith("sleep") for name in left(hosts.n1) + left(hosts.n2)) == 3, 100)
        finally:
            process.send_signal(number)
    assert process.returncode == -number
    wait_for(lambda: not with_tag("MH_RUN=ends"))


def test_a_batch_that_is_ended_while_its_cluster_is_made(
    hosts: NetworkHosts, environment: dict[str, str], tmp_path: Path
) -> None:
    """It begins nothing, and nothing is left."""
    command = [*BATCH, "--cluster", "ssh:n1,n2", "--insecure", "echo {} > began", "--shell", "--", "1"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: any("dask_spec" in name for name in left(hosts.n1)), 60)
        process.send_signal(signal.SIGINT)
    assert process.returncode == -signal.SIGINT
    assert not (tmp_path / "began").exists()


def test_a_host_that_dies(hosts: NetworkHosts, environment: dict[str, str], tmp_path: Path) -> None:
    """What ran there is lost, and tried again on the other."""
    (tmp_path / "job").write_text("echo $1 >> ledger; until [ -e gate ]; do sleep 0.05; done; echo $1")
    command = [
        *BATCH,
        "--cluster",
        "ssh:n1,n2",
        "--insecure",
        "bash job {}",
        "--retries",
        "3",
        "--workdir",
        str(tmp_path),
    ]
    command += ["--", *"1234"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=pipe, stderr=pipe) as process:
        ledger = tmp_path / "ledger"
        wait_for(lambda: ledger.exists() and len(ledger.read_text().split()) == 4, 100)
        doomed = [pid for pid in hosts.n2.pids() if not command_of(pid).startswith("sshd: /")]
        assert any("job" in command_of(pid) for pid in doomed)
        signal_all(doomed, signal.SIGKILL)
        assert process.stderr is not None
        assert any(b"was lost" in line for line in process.stderr)
        (tmp_path / "gate").touch()
        out, _ = process.communicate()
    assert (process.returncode, out.split()) == (0, [b"1", b"2", b"3", b"4"])
    assert len(ledger.read_text().split()) > 4


@pytest.mark.parametrize(
    ("cluster", "text"),
    [
        ("ssh:n1,nowhere", "nowhere: Name or service not known"),
        ("ssh:n1,gone", "gone: Connection refused"),
        ("ssh:n1,stranger", "stranger: Host key is not trusted for host"),
        ("ssh:n1,old", "old: it has manyhands 0.0.1, and this is "),
        ("ssh:n1,bare", "bare: no python"),
    ],
)
def test_hosts_that_cannot_be_used(hosts: NetworkHosts, cluster: str, text: str, cli: Cli) -> None:
    """One line that names the host, exit status 2; nothing is started on the others."""
    done = cli("batch", "true", "--backend", "dask", "--cluster", cluster, "--insecure", "--", "a")
    assert (done.returncode, done.stdout, len(messages(done.stderr))) == (2, "", 1), done.stderr
    assert f"--cluster {cluster}: {text}" in done.stderr


def test_a_scheduler_that_does_not_start(hosts: NetworkHosts, cli: Cli, environment: dict[str, str]) -> None:
    """One line, in which the scheduler says why."""
    environment["DASK_DISTRIBUTED__SCHEDULER__PRELOAD"] = "['not_there']"
    done = cli("batch", "true", *TO, "--insecure", "--", "a")
    assert (done.returncode, done.stdout, len(messages(done.stderr))) == (1, "", 1), done.stderr
    assert "No module named 'not_there'" in done.stderr


def test_without_tls(hosts: NetworkHosts, cli: Cli) -> None:
    """One line that says what to set up."""
    done = cli("batch", "true", *TO, "--", "a")
    assert (done.returncode, done.stdout, len(messages(done.stderr))) == (2, "", 1), done.stderr
    assert "its connections would not be encrypted" in done.stderr


@pytest.mark.parametrize(
    ("cluster", "module", "package"),
    [("ssh:n1,n2", "asyncssh", "asyncssh"), ("slurm:2", "dask_jobqueue", "dask-jobqueue")],
)
def test_without_what_it_needs(
    cluster: str, module: str, package: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """One line that says what to install."""
    pytest.importorskip("distributed")
    script = f"import sys; sys.modules['{module}'] = None\nfrom manyhands.__main__ import main\nsys.exit(main())"
    command = [sys.executable, "-c", script, "batch", "true", "--backend", "dask", "--cluster", cluster, "--", "a"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, len(messages(done.stderr))) == (2, "", 1), done.stderr
    assert f"--cluster {cluster} needs {package}: pip install {package}" in done.stderr
