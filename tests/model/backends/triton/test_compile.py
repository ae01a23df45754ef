"""The kernels compile for a GPU that is not here, and into the code that they were written for."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

# In a process of its own: this one runs Triton's interpreter, which compiles nothing.
PROGRAM = """
import inspect
import triton.language as tl
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from model.backends.triton import kernels, readout_kernels

INTEGERS = ("source", "reader", "start")
SIZES = ("n_all n_program batch sources signals branches memories width first_active u_row row step memory_row "
         "memory_step one first_step steps columns synapses neurons").split()

def compiled(module, name, warps, **switches):
    function = getattr(module, name)
    types = {}
    for argument in function.arg_names:
        if argument in switches:
            types[argument] = "constexpr"
        elif argument in SIZES:
            types[argument] = "i32"
        else:
            index = module is kernels and argument in INTEGERS
            types[argument] = "*i32" if index else "*fp32"
    values = {(function.arg_names.index(name),): value for name, value in switches.items()}
    source = ASTSource(function, types, constexprs=values)
    made = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    text = made.asm["ttgir"]
    print(name, len(made.asm["cubin"]) > 0, text.count("convert_layout"), made.metadata.shared)

on, off = True, False
shape = {"R": 8, "H": 16, "D": 8, "NB": 16, "BB": 16}
options = {"FILTERED": on, "TRACED": on, "DROPPED": on}
compiled(kernels, "forward_kernel", 8, LAYERS=1, KEEP_OUT=off, **shape, **options)
compiled(kernels, "backward_kernel", 8, LAYERS=1, EB=4, RATES=on, **shape, **options)
compiled(kernels, "start_kernel", 4, NB=1, BB=8, EB=64, DROPPED=on)
compiled(kernels, "synapse_kernel", 4, XB=16, LB=128)
compiled(readout_kernels, "scan_kernel", 2, D=4, NB=4, BB=16, TRACED=on, TRAINS=on)
compiled(readout_kernels, "scan_back_kernel", 2, D=4, NB=4, BB=16, TRACED=on)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="the package triton is not installed")
def test_the_kernels_compile_and_move_nothing_between_threads(tmp_path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    results = {line.split()[0]: line.split()[1:] for line in run.stdout.splitlines()}
    assert len(results) == 6
    assert all(has_code == "True" for has_code, *_ in results.values())
    # a conversion in the loops is a trip of every number through shared memory, and a barrier
    for name in ("forward_kernel", "backward_kernel"):
        _, conversions, shared = results[name]
        assert conversions == "0", name
        assert int(shared) <= 1024, name
