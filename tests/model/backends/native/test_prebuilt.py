"""Kernels that a wheel brings along: the best one that the processor runs is taken, and none that cannot be trusted."""

import shutil
from pathlib import Path

import pytest
import torch

from model.backends.native import build as native_build
from model.backends.native import prebuilt
from model.backends.native.build import kernel
from model.backends.native.compiler import NativeUnavailable, find_compiler, note_of
from model.config import ElmConfig
from model.network import build_network
from tests.model.backends.native.test_build import fake_compiler

CONFIG = ElmConfig(n_in=5, n_out=3, n_rec=6, d_m=3, d_tree=3, d_branch=2)
V4, V3, ARM = prebuilt.LEVELS


@pytest.fixture(autouse=True)
def _forget_kernels() -> None:
    kernel.cache_clear()


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """What a wheel for x86-64 holds, made by a compiler that writes the name of the level."""
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path / "prebuilt")
    monkeypatch.setattr(prebuilt.platform, "machine", lambda: "x86_64")
    compiler = fake_compiler(tmp_path, 'for last; do :; done; echo "$*" > "$last"')
    prebuilt.compile_all([compiler], "x86_64", prebuilt.FOLDER)
    return prebuilt.FOLDER


def pretend(monkeypatch, flags):
    monkeypatch.setattr(prebuilt, "_processor_flags", lambda: frozenset(flags))


@pytest.mark.parametrize("real", ["float", "double"])
def test_the_best_level_that_the_processor_runs_is_taken(wheel, monkeypatch, real):
    pretend(monkeypatch, V4.flags | {"amx"})
    best = prebuilt.prebuilt(real)
    assert "-march=x86-64-v4" in best.read_text()
    assert f"-DREAL={real}" in best.read_text()
    pretend(monkeypatch, V4.flags - {"avx512vl"})
    assert "-march=x86-64-v3" in prebuilt.prebuilt(real).read_text()
    pretend(monkeypatch, V3.flags - {"fma"})
    assert prebuilt.prebuilt(real) is None
    pretend(monkeypatch, V4.flags)
    monkeypatch.setattr(prebuilt.platform, "machine", lambda: "riscv64")
    assert prebuilt.prebuilt(real) is None


def test_a_damaged_one_and_one_of_other_sources_are_passed_over(wheel, monkeypatch):
    pretend(monkeypatch, V4.flags)
    best = prebuilt.prebuilt("float")
    best.write_text(best.read_text()[:10])
    second = prebuilt.prebuilt("float")
    assert "x86-64-v3" in second.name
    monkeypatch.setattr(prebuilt, "source_hash", lambda: "other")
    assert prebuilt.prebuilt("float") is None


def test_this_processor_is_read_from_the_system():
    # Wherever this suite runs there is Linux, and its list of abilities is never empty.
    assert prebuilt._processor_flags() & {"sse2", "asimd", "fp"}


@pytest.mark.usefixtures("native_kernel")
def test_with_it_nothing_is_compiled_and_without_a_working_one_the_sources_are(monkeypatch, tmp_path):
    kernel(torch.float32)
    built = native_build.cache_directory() / f"elm_layer-{native_build._key(find_compiler(), torch.float32)}.so"
    kernel.cache_clear()
    brought = tmp_path / "brought.so"
    shutil.copy(built, brought)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("ELM_SWEEPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native_build, "prebuilt", lambda real: brought)
    assert build_network(CONFIG, seed=1).backend_name == "native"
    assert not (tmp_path / "cache").exists()
    kernel.cache_clear()
    unloadable = tmp_path / "unloadable.so"
    unloadable.write_text("no library")
    monkeypatch.setattr(native_build, "prebuilt", lambda real: unloadable)
    with pytest.raises(NativeUnavailable, match="no C\\+\\+ compiler found"):
        kernel(torch.float32)


def test_a_kind_of_machine_without_levels_is_refused(tmp_path):
    with pytest.raises(ValueError, match="riscv64: no library is made for such machines, only for aarch64, x86_64"):
        prebuilt.compile_all(["c++"], "riscv64", tmp_path)


def test_each_library_has_its_hash_beside_it(wheel):
    libraries = sorted(wheel.glob("*.so"))
    assert len(libraries) == 4
    assert all(note_of(path).exists() for path in libraries)


def test_arm_has_a_level(wheel, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(prebuilt.platform, "machine", lambda: "aarch64")
    pretend(monkeypatch, {"fp", "asimd"})
    assert prebuilt.runnable() == [ARM]
