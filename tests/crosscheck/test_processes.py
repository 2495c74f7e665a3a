"""tshark that dies, hangs, is missing, or is wanted away: one clear sentence, what was compared, and no child left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pqaudit.cli.crosscheck import command
from pqaudit.cli.exit_codes import ExitCode
from pqaudit.crosscheck import run
from pqaudit.crosscheck.runner import Tshark, TsharkError
from tests import build
from tests.conftest import REPOSITORY, SAMPLES
from tests.crosscheck.conftest import children

pytestmark = [
    pytest.mark.usefixtures("no_child_left"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]
SAMPLE = SAMPLES / "classical_x25519.pcap"
HYBRID = build.init_request((*build.SUITE, (build.KE, 31), build.addke(1, 36)))
MANY = 3000  # far more than fits a pipe, so tshark is in the middle when the first frames arrive


def _crosscheck(*arguments: object, **named: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments], **named)  # type: ignore[arg-type]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return build.pcap([build.udp_frame(HYBRID)] * MANY, tmp_path / "many.pcap")


def _gone(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.usefixtures("real_tshark")
def test_tshark_killed_in_the_middle(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    genuine = run.dissected_readings
    frames: list[int] = []

    def killing(frame: int, layers: list[run.Layer]) -> object:
        frames.append(frame)
        if len(frames) == 20:
            killed = children() - before
            assert killed
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        return genuine(frame, layers)

    monkeypatch.setattr(run, "dissected_readings", killing)
    result = _crosscheck("--format", "json", many)
    assert result.exit_code == ExitCode.UNREADABLE
    assert "tshark was ended by signal 9" in result.stderr
    found = json.loads(result.stdout)
    assert found["complete"] is False
    (file,) = found["files"]
    assert 20 <= file["messages"] < MANY
    assert file["unexplained"] == 0  # what tshark did not live to say is no difference


@pytest.mark.usefixtures("real_tshark")
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_broken_off_in_the_middle(error: type[BaseException], many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = run.dissected_readings

    def failing(frame: int, layers: list[run.Layer]) -> object:
        if frame == 20:
            raise error
        return genuine(frame, layers)

    monkeypatch.setattr(run, "dissected_readings", failing)
    result = _crosscheck(many)
    if error is KeyboardInterrupt:
        assert result.exit_code == ExitCode.INTERRUPTED
        assert "19 messages" in result.stdout
    else:
        assert isinstance(result.exception, ValueError)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("exec sleep 600", "said nothing for 1 seconds"),
        ("exec sleep 600 >&- 2>&-", "closed its output but did not end"),
        ("echo no such magic >&2; exit 4", "status 4: no such magic"),
        ("exit 1", "status 1: it gave no reason"),
        ("kill -SEGV $$", "signal 11"),
        ("printf '<packet><proto></packet>'; exit 0", "pyshark cannot read"),
        ("printf '<packet>'; exec sleep 600", "said nothing"),
    ],
)
def test_a_tshark_that_fails(line: str, said: str, broken_tshark: Callable[[str], Path]) -> None:
    pid_file = broken_tshark(line)
    result = _crosscheck("--timeout", "1", SAMPLE)
    assert result.exit_code == ExitCode.UNREADABLE, result.output
    assert said in result.stderr
    assert "0 messages" in result.stdout
    assert _gone(pid_file)


def test_later_captures_are_compared_after_a_failure(
    broken_tshark: Callable[[str], Path], tmp_path: Path, real_tshark: None
) -> None:
    genuine = next(
        Path(folder) / "tshark" for folder in os.environ["PATH"].split(os.pathsep) if (Path(folder) / "tshark").exists()
    )
    broken_tshark(f'case "$*" in *classical_x25519*) exit 5;; esac; exec {genuine} "$@"')
    result = _crosscheck("--format", "json", SAMPLE, SAMPLES / "hybrid_x25519_mlkem768.pcap")
    assert result.exit_code == ExitCode.UNREADABLE
    first, second = json.loads(result.stdout)["files"]
    assert first["error"] is not None
    assert (second["error"], second["messages"], second["unexplained"]) == (None, 9, 0)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\nexec sleep 600\n", "does not answer"),
        ("#!/bin/sh\necho hello\n", "does not tell its version"),
        ("#!/nowhere/sh\n", "cannot be started"),
    ],
)
def test_a_tshark_without_version(script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tshark = tmp_path / "tshark"
    tshark.write_text(script)
    tshark.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    result = _crosscheck("--timeout", "1", SAMPLE)
    assert result.exit_code == ExitCode.UNREADABLE
    assert said in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_takes_tshark_along(number: int, broken_tshark: Callable[[str], Path]) -> None:
    pid_file = broken_tshark("exec sleep 600")
    with subprocess.Popen(
        [sys.executable, "-m", "pqaudit", "crosscheck", str(SAMPLE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
    ) as process:
        deadline = time.monotonic() + 30
        while not (pid_file.exists() and pid_file.read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert b"Traceback" not in errors
    assert _gone(pid_file)


def test_without_tshark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = _crosscheck(SAMPLE)
    assert result.exit_code == ExitCode.USAGE
    assert "install" in result.stderr
    assert "tshark" in result.stderr


@pytest.mark.usefixtures("real_tshark")
def test_without_pyshark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyshark", None)
    result = _crosscheck(SAMPLE)
    assert result.exit_code == ExitCode.USAGE
    assert "pqaudit[crosscheck]" in result.stderr


@pytest.mark.usefixtures("real_tshark")
def test_no_file_of_the_current_directory_says_which_tshark_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    other.chmod(0o755)
    (tmp_path / "config.ini").write_text(f"[tshark]\ntshark_path = {other}\n")
    monkeypatch.chdir(tmp_path)
    result = _crosscheck(SAMPLE)
    assert result.exit_code == ExitCode.DONE
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("real_tshark")
def test_preferences_of_the_user_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disabled_protos").write_text("isakmp\n")
    monkeypatch.setenv("WIRESHARK_CONFIG_DIR", str(tmp_path))
    # The file does what is feared of it:
    alone = subprocess.run(["tshark", "-n", "-r", str(SAMPLE), "-Y", "isakmp"], capture_output=True, check=True)
    assert alone.stdout == b""
    result = _crosscheck(SAMPLE)
    assert result.exit_code == ExitCode.DONE
    assert os.environ["WIRESHARK_CONFIG_DIR"] == str(tmp_path)


@pytest.mark.usefixtures("real_tshark")
def test_standard_input() -> None:
    result = _crosscheck("--format", "json", "-", input=SAMPLE.read_bytes())
    assert result.exit_code == ExitCode.DONE
    (file,) = json.loads(result.stdout)["files"]
    assert (file["name"], file["messages"]) == ("-", 6)  # the manifest's number of IKE packets


@pytest.mark.usefixtures("real_tshark")
def test_what_is_no_capture(tmp_path: Path) -> None:
    (tmp_path / "text.pcap").write_text("this is no capture\n" * 20)
    result = _crosscheck(tmp_path / "text.pcap", tmp_path / "missing.pcap", SAMPLE)
    assert result.exit_code == ExitCode.UNREADABLE
    assert "text.pcap" in result.stderr
    assert "missing.pcap" in result.stderr
    assert "6 messages" in result.stdout


@pytest.mark.usefixtures("real_tshark")
def test_a_capture_that_is_cut_short_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "cut.pcap").write_bytes(SAMPLE.read_bytes()[:-10])
    result = _crosscheck("--format", "json", tmp_path / "cut.pcap")
    found = json.loads(result.stdout)
    assert found["files"][0]["messages"] == 5
    assert found["counts"]["unexplained"] == 0
    assert any("cut short" in note["message"] for note in found["notes"])


@pytest.mark.usefixtures("real_tshark")
def test_differences_are_printed_and_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    import struct

    transform = struct.pack("!BBHBBHHHHH", 0, 0, 16, 1, 0, 12, 0x800E, 128, 0x800E, 256)
    proposal = struct.pack("!BBHBBBB", 0, 0, 24, 1, 1, 0, 1) + transform
    path = tmp_path / "a\x1b[31m.pcap"
    build.pcap([build.udp_frame(build.message(build.INIT, [(33, proposal)]))], path)
    result = _crosscheck(path)
    assert result.exit_code == ExitCode.FINDINGS
    assert "key_length" in result.stdout
    assert "\x1b" not in result.output


def test_help_and_other_commands_do_not_load_pyshark() -> None:
    code = (
        "import sys, pqaudit.cli.main, pqaudit.cli.audit, pqaudit.cli.crosscheck; assert 'pyshark' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


@pytest.mark.usefixtures("real_tshark")
def test_two_runs_in_one_process_and_in_a_thread() -> None:
    from concurrent.futures import ThreadPoolExecutor

    tshark = Tshark(30)
    seen: list[int] = []

    def once() -> None:
        tshark.read(str(SAMPLE), {}, lambda frame, layers: seen.append(frame))

    once()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(once).result()
    assert len(seen) == 12


@pytest.mark.usefixtures("real_tshark")
def test_an_error_of_tshark_names_its_cause(tmp_path: Path) -> None:
    (tmp_path / "empty.pcap").write_bytes(b"not a capture, sixty octets of text that no reader takes......")
    with pytest.raises(TsharkError, match="status"):
        Tshark(30).read(str(tmp_path / "empty.pcap"), {}, lambda frame, layers: None)
