"""The scripts that people run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import httpx
import pytest
from harness.bootstrap import MODULE
from harness.process import ROOT
from harness.shipped import CALLING_SIDE, EMULATOR, PORTS, is_taken, plain, the_ports
from harness.waiting import eventually


def run(*command: str | Path, within: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=within,
        env={**os.environ, **environment},
    )


class TestDemo:
    """scripts/demo, on the Envoy under test."""

    def test_plays_the_story_and_cleans_up(self, envoy_binary: Path) -> None:
        with the_ports():
            said = run("scripts/demo", "--envoy", envoy_binary)
            story = plain(said.stdout)
            assert said.returncode == 0, story + said.stderr
            assert [line.split()[1] for line in story.splitlines() if line.lstrip().startswith("=>")] == [
                "200,",
                "403,",
                "401,",
            ]
            assert '"email": "login@demo.iam.gserviceaccount.com"' in story
            assert "authorization" not in [line for line in story.splitlines() if "$ curl" in line]
            assert "All three calls came out as they should." in story
            assert not [port for port in PORTS if is_taken(port)]

    def test_keep_leaves_everything_running_and_says_how_to_end_it(self, envoy_binary: Path) -> None:
        with the_ports():
            said = run("scripts/demo", "--keep", "--envoy", envoy_binary)
            pids = [int(pid) for pid in (ROOT / "target/demo/pids").read_text().split()]
            try:
                assert said.returncode == 0, said.stdout + said.stderr
                assert f"http://profiles.localhost:{CALLING_SIDE}/" in said.stdout
                assert "kill $(cat target/demo/pids)" in said.stdout
                answer = httpx.get(
                    f"http://127.0.0.1:{CALLING_SIDE}/", headers={"host": "profiles.localhost"}, trust_env=False
                )
                assert answer.status_code == 200
                # A second one says what is in its way, and does not touch the first.
                again = run("scripts/demo", "--envoy", envoy_binary)
                assert (again.returncode, again.stdout) == (1, "")
                assert f"127.0.0.1:{CALLING_SIDE}" in again.stderr
                assert is_taken(CALLING_SIDE)
            finally:
                for pid in pids:
                    os.kill(pid, 15)
            eventually(lambda: not [port for port in PORTS if is_taken(port)], "everything to end")

    def test_uses_func_e_when_asked_to(self, envoy_binary: Path, tmp_path: Path) -> None:
        func_e = run("scripts/install-envoy", "func-e").stdout.strip()
        with the_ports():
            said = run(
                "scripts/demo",
                "--func-e",
                PATH=f"{Path(func_e).parent}{os.pathsep}{os.environ['PATH']}",
                ENVOY_PATH=str(envoy_binary),
                FUNC_E_CONFIG_HOME=str(tmp_path),
                FUNC_E_DATA_HOME=str(tmp_path),
                FUNC_E_STATE_HOME=str(tmp_path),
                FUNC_E_RUNTIME_DIR=str(tmp_path),
            )
            assert said.returncode == 0, said.stdout + said.stderr
            eventually(lambda: not [port for port in PORTS if is_taken(port)], "everything to end")

    def test_plays_it_outside_google_cloud_with_a_key_and_no_metadata_server(self, envoy_binary: Path) -> None:
        with the_ports():
            said = run("scripts/demo", "--outside-gcp", "--envoy", envoy_binary)
            assert said.returncode == 0, said.stdout + said.stderr
            story = plain(said.stdout)
            assert '"email": "login@demo.iam.gserviceaccount.com"' in story
            assert "There is no metadata server" in story
            assert not [port for port in PORTS if is_taken(port)]

    def test_fails_if_the_story_comes_out_differently(self, envoy_binary: Path, tmp_path: Path) -> None:
        """With a curl that asks for something else, two of the three answers are not the right ones."""
        curl = tmp_path / "curl"
        real = shutil.which("curl")
        curl.write_text(
            "#!/bin/bash\n"
            'args=("$@")\n'
            f'args[-1]=${{args[-1]/search.localhost/profiles.localhost}}\nexec {real} "${{args[@]}}"\n'
        )
        curl.chmod(0o755)
        with the_ports():
            said = run("scripts/demo", "--envoy", envoy_binary, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
            assert said.returncode == 1
            assert "200, and it should have been 403" in said.stdout
            assert "1 of 3 calls" in said.stderr
            assert not [port for port in PORTS if is_taken(port)]

    def test_names_a_server_that_does_not_start(self, tmp_path: Path) -> None:
        broken = tmp_path / "envoy"
        broken.write_text("#!/bin/sh\necho 'it is broken' >&2\nexit 7\n")
        broken.chmod(0o755)
        with the_ports():
            said = run("scripts/demo", "--envoy", broken)
            assert said.returncode == 1
            assert "it is broken" in said.stderr
            assert "receiving-side has ended" in said.stderr or "calling-side has ended" in said.stderr
            assert not is_taken(EMULATOR)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--fast"], "unknown argument '--fast'"),
            (["--envoy"], "--envoy needs a path"),
        ],
    )
    def test_a_wrong_argument_is_explained(self, arguments: list[str], says: str) -> None:
        said = run("scripts/demo", *arguments)
        assert (said.returncode, said.stdout) == (2, "")
        assert says in said.stderr

    def test_an_envoy_that_is_not_there_is_named(self) -> None:
        with the_ports():
            said = run("scripts/demo", "--envoy", "/nowhere/envoy")
        assert said.returncode == 1
        assert "/nowhere/envoy" in said.stderr


class TestGrantInvoker:
    CALLER = "login@demo.iam.gserviceaccount.com"
    COMMAND = (
        "gcloud run services add-iam-policy-binding profiles "
        f"--member=serviceAccount:{CALLER} --role=roles/run.invoker"
    )

    @pytest.mark.parametrize(
        ("more", "tail"),
        [
            ([], ""),
            (["--region", "europe-west1"], " --region=europe-west1"),
            (["--project=demo", "--region=europe-west1"], " --project=demo --region=europe-west1"),
        ],
    )
    def test_dry_run_prints_the_command(self, more: list[str], tail: str) -> None:
        said = run("scripts/grant-invoker", "profiles", self.CALLER, *more, "--dry-run")
        assert (said.returncode, said.stdout, said.stderr) == (0, f"{self.COMMAND}{tail}\n", "")

    def test_runs_the_command(self, tmp_path: Path) -> None:
        gcloud = tmp_path / "gcloud"
        gcloud.write_text('#!/bin/sh\necho "gcloud $*"\nexit 3\n')
        gcloud.chmod(0o755)
        said = run(
            "scripts/grant-invoker", "profiles", self.CALLER, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        )
        assert (said.returncode, said.stdout) == (3, f"{self.COMMAND}\n")

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ([], "which service"),
            (["profiles"], "which account"),
            (["profiles", CALLER, "more"], "too many"),
            (["https://profiles-abc-uc.a.run.app", CALLER], "the service's name"),
            (["Profiles", CALLER], "lower-case"),
            (["profiles", "someone@gmail.com"], "not a service account"),
            (["profiles", f"user:{CALLER}"], "not a service account"),
            (["profiles", CALLER, "--region"], "--region needs a value"),
            (["profiles", CALLER, "--role=x"], "unknown option"),
        ],
    )
    def test_a_wrong_argument_is_explained(self, arguments: list[str], says: str) -> None:
        said = run("scripts/grant-invoker", *arguments, "--dry-run")
        assert (said.returncode, said.stdout) == (2, "")
        assert says in said.stderr


def test_a_build_replaces_the_module_in_one_piece() -> None:
    """An Envoy that starts during a build reads the old module or the new one, not half of one."""
    # What says that this module is made already: without it, it is made anew.
    MODULE.with_name("invoker.wasm.made").unlink()
    with MODULE.open("rb") as old:
        said = run("scripts/build", "--module")
        assert said.returncode == 0, said.stderr
        assert os.fstat(old.fileno()).st_ino != MODULE.stat().st_ino
        assert old.read() == MODULE.read_bytes()


def test_a_module_is_made_small_once_and_again_when_another_is_in_its_place(tmp_path: Path) -> None:
    source, output = tmp_path / "large.wasm", tmp_path / "small.wasm"
    source.write_bytes((MODULE.parents[1] / "module/invoker.wasm").read_bytes())
    libraries = ". scripts/lib/common.sh; . scripts/lib/wasm-opt.sh"

    def make() -> int:
        command = f'{libraries}; wasm_opt "{source}" "{output}"'
        subprocess.run(["bash", "-euc", command], cwd=ROOT, check=True, capture_output=True, timeout=170)
        return output.stat().st_ino

    first = make()
    small = output.read_bytes()
    assert len(small) < len(source.read_bytes())
    assert make() == first
    # As a plain `cargo build --release` does.
    output.write_bytes(source.read_bytes())
    make()
    assert output.read_bytes() == small


@pytest.mark.parametrize("script", ["build", "demo", "grant-invoker", "install-envoy", "publish", "test"])
def test_every_script_explains_itself(script: str) -> None:
    said = run(f"scripts/{script}", "--help")
    assert said.returncode == 0
    assert f"usage: scripts/{script}" in said.stdout
    assert "set -euo" not in said.stdout


class TestRelease:
    def test_what_is_there_is_not_overwritten(self, tmp_path: Path) -> None:
        said = run("scripts/release", "--snapshot", tmp_path)
        assert (said.returncode, said.stdout) == (1, "")
        assert f"{tmp_path} is there already" in said.stderr

    @pytest.mark.parametrize(
        ("version", "status", "says"),
        [("2.0.0", 0, "the newer one"), ("1.0.0", 0, "the first one"), ("3.0.0", 1, "nothing under `## [3.0.0]`")],
    )
    def test_notes_are_one_version_s(self, tmp_path: Path, version: str, status: int, says: str) -> None:
        changelog = tmp_path / "CHANGELOG.md"
        changelog.write_text("# Changelog\n\n## [2.0.0] - 2027-01-01\n\n- the newer one\n\n## [1.0.0]\n\n- the first one\n")
        said = run("python3", "scripts/lib/release_notes.py", changelog, version)
        assert said.returncode == status
        assert said.stdout.strip() == (f"- {says}" if status == 0 else "")
        assert says in said.stdout + said.stderr

    def test_an_image_is_packed_into_the_same_bytes_whenever(self, tmp_path: Path) -> None:
        folder = tmp_path / "image"
        (folder / "blobs").mkdir(parents=True)
        (folder / "index.json").write_text("{}")
        (folder / "blobs" / "one").write_text("1")
        archives = [tmp_path / "first.tar", tmp_path / "second.tar"]
        for number, archive in enumerate(archives):
            os.utime(folder / "index.json", (number, number))
            assert run("python3", "scripts/lib/image_archive.py", folder, archive).returncode == 0
        first, second = (archive.read_bytes() for archive in archives)
        assert first == second
        with tarfile.open(archives[0]) as tar:
            assert tar.getnames() == ["blobs/one", "index.json"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["scripts/fuzz", "--seconds", "soon"], "--seconds wants a whole number"),
        (["scripts/fuzz", "nothing"], "no target 'nothing'; there are answers bootstrap"),
        (["scripts/audit", "--quickly"], "unknown argument '--quickly'"),
        (["scripts/release", "--now"], "unknown option '--now'"),
        (["scripts/test", "everything"], "no stage 'everything'"),
    ],
)
def test_a_wrong_argument_of_a_check_is_explained(command: list[str], says: str) -> None:
    said = run(*command)
    assert (said.returncode, said.stdout) == (2, "")
    assert says in said.stderr
