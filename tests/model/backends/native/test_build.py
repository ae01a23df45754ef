"""The compiled kernel: what happens where it cannot be had, and when several processes want it at once."""

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.backends import choose as backends
from model.backends.native import build as native_build
from model.backends.native import compiler as compiler_module
from model.backends.native.build import kernel
from model.backends.native.compiler import NativeUnavailable, find_compiler
from model.config import ConfigError, ElmConfig
from model.network import build_network

CONFIG = ElmConfig(n_in=5, n_out=3, n_rec=6, d_m=3, d_tree=3, d_branch=2)


@pytest.fixture(autouse=True)
def _forget_kernels() -> None:
    kernel.cache_clear()
    backends._announce.cache_clear()


def script(path: Path, body: str) -> str:
    """An executable that stands in for a compiler."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


def fake_compiler(tmp_path: Path, body: str) -> str:
    return script(tmp_path / "fake-c++", f'case "$*" in *--version*) echo fake 1.0; exit 0;; esac\n{body}')


def copier(tmp_path: Path) -> str:
    """A compiler that hands out the library compiled already, since compiling takes a third of a minute."""
    compiler = find_compiler()
    kernel(torch.float32)
    library = native_build.cache_directory() / f"elm_layer-{native_build._key(compiler, torch.float32)}.so"
    kernel.cache_clear()
    return fake_compiler(tmp_path, f'echo built >> {tmp_path}/log; for last; do :; done; cp {library} "$last"')


def test_without_a_compiler_auto_says_so_once_and_runs_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with caplog.at_level(logging.WARNING):
        networks = [build_network(CONFIG, seed=1) for _ in range(3)]
    assert [network.backend_name for network in networks] == ["torch"] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no C++ compiler found (looked for no-such-compiler)" in caplog.text
    assert "\n" not in caplog.records[0].getMessage()


def test_asking_for_the_kernel_where_it_cannot_be_had_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"^backend: 'native' is not valid here .* give auto, torch or reference$"):
        build_network(CONFIG, seed=1, backend="native")
    with pytest.raises(ConfigError, match=r"l_mlp up to 8, not 9"):
        build_network(ElmConfig(**{**vars(CONFIG), "l_mlp": 9}), seed=1, backend="native")


def test_compiler_failure_names_its_first_complaint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = fake_compiler(tmp_path, "echo 'note: here' >&2; echo 'x.h:3: error: what is this' >&2; exit 7")
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("ELM_SWEEPER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NativeUnavailable, match=r"failed with status 7: x\.h:3: error: what is this$"):
        kernel(torch.float32)
    assert not list((tmp_path / "cache").rglob("*.so"))


def test_an_unloadable_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = fake_compiler(tmp_path, 'for last; do :; done; echo "no library" > "$last"')
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("ELM_SWEEPER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NativeUnavailable, match=r"elm_layer-.*\.so: "):
        kernel(torch.float32)


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, "exit 1"))
    monkeypatch.setenv("ELM_SWEEPER_CACHE", str(tmp_path / "file"))
    with pytest.raises(NativeUnavailable, match="file/kernels-"):
        kernel(torch.float32)


@pytest.mark.usefixtures("native_kernel")
def test_the_name_follows_source_flags_compiler_precision_and_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = find_compiler()
    key = native_build._key(compiler, torch.float32)
    assert native_build._key(compiler, torch.float32) == key
    assert native_build._key(compiler, torch.float64) != key
    monkeypatch.setattr(compiler_module, "FLAGS", (*compiler_module.FLAGS, "-g"))
    assert native_build._key(compiler, torch.float32) != key
    monkeypatch.undo()
    monkeypatch.setattr(native_build, "_processor", lambda: "another processor")
    assert native_build._key(compiler, torch.float32) != key


@pytest.mark.usefixtures("native_kernel")
@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_damaged_library_is_compiled_anew_once(
    kept: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A library cut to half crashed every lane that loaded it, and an empty one made every trial slow for ever."""
    monkeypatch.setenv("CXX", copier(tmp_path))
    monkeypatch.setenv("ELM_SWEEPER_CACHE", str(tmp_path / "cache"))
    kernel(torch.float32)
    (library,) = (tmp_path / "cache").glob("kernels-*/*.so")
    library.unlink()  # a library that is mapped must not be cut in place
    library.write_bytes(b"\x7fELF" * int(kept * 1000))
    kernel.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert build_network(CONFIG, seed=1).backend_name == "native"
    assert caplog.messages == [f"compiling the native kernel anew, the file is damaged: {library}"]
    kernel.cache_clear()
    kernel(torch.float32)
    assert (tmp_path / "log").read_text() == "built\n" * 2


def test_a_compiler_may_have_a_launcher_and_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    launcher = script(tmp_path / "launcher", 'exec "$@"')
    monkeypatch.setenv("CXX", f"{launcher} sh -c")
    assert find_compiler() == [launcher, "sh", "-c"]
    monkeypatch.setenv("CXX", "'g++")
    with pytest.raises(NativeUnavailable, match='CXX: "\'g\\+\\+" is not a command'):
        find_compiler()


@pytest.mark.usefixtures("native_kernel")
def test_what_another_user_put_there_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ELM_SWEEPER_CACHE", str(tmp_path))
    uid = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: uid + 1)  # so that what we make belongs to somebody else
    monkeypatch.setattr(native_build, "_OWNERS", ())
    with pytest.raises(NativeUnavailable, match=f"belongs to user {uid}; what others compiled is not run"):
        kernel(torch.float32)


@pytest.mark.usefixtures("native_kernel")
def test_others_cannot_write_into_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", copier(tmp_path))
    monkeypatch.setenv("ELM_SWEEPER_CACHE", str(tmp_path))
    before = os.umask(0)
    try:
        kernel(torch.float32)
    finally:
        os.umask(before)
    (folder,) = tmp_path.glob("kernels-*")
    assert [path.name for path in (folder, *folder.glob("*.so")) if path.stat().st_mode & 0o022] == []


def test_two_processes_that_build_at_once_build_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = fake_compiler(
        tmp_path, f'echo built >> {tmp_path}/log; sleep 0.5; for last; do :; done; echo x > "$last"'
    )
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("ELM_SWEEPER_CACHE", str(tmp_path / "cache"))
    code = (
        "import torch; from model.backends.native.build import kernel, NativeUnavailable\n"
        "try: kernel(torch.float32)\nexcept NativeUnavailable: pass"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "built\n"
    assert len(list((tmp_path / "cache").glob("kernels-*/*.so"))) == 1
