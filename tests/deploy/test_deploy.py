"""Containers and job scripts, as far as they can be checked without an engine that runs them."""

from __future__ import annotations

import configparser
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

from itk_infer.cli.main import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
DOCKERFILES = sorted(DEPLOY.glob("Dockerfile*"))
DEFINITIONS = sorted(DEPLOY.glob("*.def"))
SCRIPTS = sorted(DEPLOY.glob("*.sbatch"))
INSTRUCTIONS = {"FROM", "ENV", "COPY", "RUN", "USER", "WORKDIR", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
SECTIONS = {"files", "post", "environment", "runscript", "test"}


def extras() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    return set(project["optional-dependencies"])


def program(name: str) -> str:
    """A linter, of this environment or of the machine."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def asked_extras(text: str) -> set[str]:
    return {extra for group in re.findall(r"/src\[([\w,-]+)\]", text) for extra in group.split(",")}


def sources(line: str) -> list[str]:
    return [word for word in line.split() if not word.startswith("/")]


def test_there_are_both_kinds_for_both_engines():
    assert (len(DOCKERFILES), len(DEFINITIONS)) == (2, 2)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfile(path):
    text = path.read_text("utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    steps = [line.split(maxsplit=1) for line in lines]
    assert {word for word, _ in steps} <= INSTRUCTIONS
    assert steps[0][0] == "FROM"
    assert ":" in steps[0][1]
    assert "latest" not in steps[0][1]
    assert next(rest for word, rest in steps if word == "USER") != "root"
    assert ["ENTRYPOINT", '["itk_infer"]'] in steps  # not a shell: signals must arrive
    for word, rest in steps:
        if word == "COPY":
            assert all((REPOSITORY / source).exists() for source in sources(rest)), rest
    assert asked_extras(text)
    assert asked_extras(text) <= extras()


def test_images_are_built_of_the_program_alone():
    """Results, passwords and studies that lie in the folder of a checkout do not reach the engine."""
    lines = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    first, *others = [line for line in lines if line and not line.startswith("#")]
    assert first == "*"
    let_in = {line.removeprefix("!").rstrip("/") for line in others if line.startswith("!")}
    copied = re.findall(
        r"^COPY (.+) \S+$", "\n".join(path.read_text("utf-8") for path in DOCKERFILES), re.MULTILINE
    )
    assert let_in == {source for line in copied for source in line.split()}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("name", ["node.env", "orthanc.env", "model.onnx", "node/outbox.db"])
def test_git_ignores_what_the_compose_file_says_to_make(name):
    words = ["git", "-C", str(REPOSITORY), "check-ignore", "--no-index", "-q", f"deploy/{name}"]
    done = subprocess.run(words, check=False)
    if done.returncode > 1:
        pytest.skip("this is no checkout of git")
    assert done.returncode == 0


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.name)
def test_definition(path, tmp_path):
    text = path.read_text("utf-8")
    head, *parts = re.split(r"^%", text, flags=re.MULTILINE)
    assert re.match(r"Bootstrap: docker\nFrom: \S+:\S+\n", head)
    sections = {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in parts}
    assert set(sections) == SECTIONS
    for line in filter(None, sections["files"].splitlines()):
        assert (REPOSITORY / line.split()[0]).exists(), line
    assert asked_extras(text) <= extras()
    assert 'exec itk_infer "$@"' in sections["runscript"]
    for name in SECTIONS - {"files"}:
        (tmp_path / name).write_text(sections[name])
        subprocess.run(["sh", "-n", str(tmp_path / name)], check=True)


@pytest.mark.parametrize("cuda", [False, True])
def test_both_engines_get_the_same_base_and_packages(cuda):
    docker = (DEPLOY / ("Dockerfile.cuda" if cuda else "Dockerfile")).read_text("utf-8")
    apptainer = (DEPLOY / ("itk_infer-cuda.def" if cuda else "itk_infer.def")).read_text("utf-8")
    base = re.search(r"^FROM (\S+)", docker, re.MULTILINE)[1]
    assert f"From: {base}\n" in apptainer
    assert asked_extras(docker) == asked_extras(apptainer)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    lint = program("hadolint")
    done = subprocess.run(
        [lint, "--failure-threshold", "warning", "--no-color", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path):
    done = subprocess.run([program("shellcheck"), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


class TestClassify:
    """The job from a folder of DICOM files to tables and panels, with stand-ins that print what they are given."""

    @pytest.fixture
    def called(self, tmp_path):
        if shutil.which("bash") is None:
            pytest.skip("needs bash")
        (tmp_path / "srun").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (tmp_path / "srun").chmod(0o755)
        (tmp_path / "my dicom").mkdir()
        (tmp_path / "m.onnx").touch()
        path = f"{tmp_path}:{os.environ['PATH']}"

        def call(*words, **variables):
            environment = {"PATH": path, "SLURM_JOB_ID": "77", "SLURM_CPUS_PER_TASK": "4", **variables}
            command = ["bash", str(DEPLOY / "classify.sbatch"), *words]
            return subprocess.run(
                command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
            )

        return call

    def words(self, tmp_path, run="runs/77"):
        return [
            *("itk_infer", "classify", "-i", str(tmp_path / "my dicom"), "-m", str(tmp_path / "m.onnx")),
            *("-o", str(tmp_path / run), "--threads", "4", "--saliency", "gradcam", "--saliency-for", "positives"),
        ]

    def test_each_job_has_its_folder(self, tmp_path, called):
        done = called("my dicom", "m.onnx", "runs", "--threshold", "0.3")
        assert done.stdout.splitlines() == [*self.words(tmp_path), "--threshold", "0.3"], done.stderr
        assert (tmp_path / "runs" / "77").is_dir()

    def test_a_folder_that_is_named_is_gone_on_with(self, tmp_path, called):
        done = called("my dicom", "m.onnx", "runs", RUN="runs/first")
        assert done.stdout.splitlines() == self.words(tmp_path, "runs/first")

    def test_in_a_container_images_cannot_be_written(self, tmp_path, called):
        words = called("my dicom", "m.onnx", "runs", SIF="/images/itk_infer.sif").stdout.splitlines()
        inside = words.index("/images/itk_infer.sif")
        assert words[:3] == ["apptainer", "exec", "--containall"]
        assert words[inside + 1 :] == self.words(tmp_path)
        binds = [words[i + 1] for i, word in enumerate(words) if word == "--bind"]
        dicom = tmp_path / "my dicom"
        assert binds == [f"{dicom}:{dicom}:ro", str(tmp_path), str(tmp_path / "runs" / "77")]

    def test_what_is_missing_is_said(self, called):
        assert called("my dicom").returncode == 2

    @pytest.mark.skipif("classify" not in COMMANDS, reason="there is no command classify")
    def test_the_program_takes_these_words(self, tmp_path, called):
        """Options are parsed by the command itself, up to the point where files are looked for."""
        module, attribute, _ = COMMANDS["classify"]
        command = getattr(importlib.import_module(module), attribute)
        words = called("my dicom", "m.onnx", "runs").stdout.splitlines()
        command.make_context("classify", words[2:])


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_array_script_calls_the_program_with_its_arguments(tmp_path):
    """With a stand-in for srun that prints what it is given."""
    (tmp_path / "srun").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = str(DEPLOY / "slurm_array.sbatch")
    done = subprocess.run(
        ["bash", script, "my scans", "masks", "m.onnx", "--save-conf"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    expected = ["itk_infer", "-i", "my scans", "-o", "masks", "--onnx", "m.onnx", "--shard", "--save-conf"]
    assert done.stdout.splitlines() == expected
    assert subprocess.run(["bash", script], capture_output=True, env=environment, check=False).returncode == 2


def test_the_unit_starts_a_server_that_there_is():
    """Its command is parsed by the program itself, up to the point where files are looked for."""
    from itk_infer.cli.commands.serve import serve_command

    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(DEPLOY / "itk_infer.service")
    assert {"Unit", "Service", "Install"} == set(unit.sections())
    program, command, *words = shlex.split(unit["Service"]["ExecStart"])
    assert (Path(program).name, command) == ("itk_infer", "serve")
    context = serve_command.make_context("serve", words)
    assert context.params["address"].startswith("127.0.0.1:")
    assert context.params["token_file"] == Path("/etc/itk_infer/tokens")
    assert unit["Service"]["User"] != "root"


def test_the_unit_of_a_node():
    from itk_infer.cli.commands.node import node_command

    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(DEPLOY / "itk_infer-node.service")
    assert {"Unit", "Service", "Install"} == set(unit.sections())
    program, command, *words = shlex.split(unit["Service"]["ExecStart"])
    assert (Path(program).name, command) == ("itk_infer", "node")
    context = node_command.make_context("node", words)
    assert context.params["page"].startswith("127.0.0.1:")
    assert context.params["password_file"] == Path("/etc/itk_infer/passwords")
    assert unit["Service"]["User"] != "root"


def test_the_services_of_compose():
    """The command of the node is parsed by the program itself; what it names is mounted; no port is open by mistake."""
    yaml = pytest.importorskip("yaml")
    from itk_infer.cli.commands.node import node_command

    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    orthanc, node = document["services"]["orthanc"], document["services"]["node"]
    command, *words = node["command"]
    assert command == "node"
    context = node_command.make_context("node", words)
    assert context.params["orthanc"] == "http://orthanc:8042"
    mounted = [volume.split(":")[1] for volume in node["volumes"]]
    assert [str(context.params["model"][0]), str(context.params["home"])] == mounted
    assert (REPOSITORY / node["build"]["dockerfile"]).exists()
    assert "latest" not in orthanc["image"]
    assert orthanc["environment"]["ORTHANC__AUTHENTICATION_ENABLED"] == "true"
    ports = [*orthanc["ports"], *node["ports"]]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["4242:4242"]
    assert not any("password" in str(value).lower() for value in orthanc["environment"].values())
