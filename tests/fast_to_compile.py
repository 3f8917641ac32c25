"""Flags of XLA with which a program is compiled in a third of the time, and runs slower: for programs that run once.

`XLA_FLAGS="$(python tests/fast_to_compile.py)" python ...`
"""

from importlib.metadata import version

from packaging.version import Version

FLAGS = [
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    # To split a program for several threads costs time, and here every core is busy anyway.
    "--xla_cpu_parallel_codegen_split_count=1",
]
# XLA refuses a switch that it does not have, and newer versions lack this one, of the emitters of fused loops.
if Version(version("jaxlib")) < Version("0.11"):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")

OPTIMISED = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
"""Compiler options, above those flags, for a program of a test that runs much longer than it compiles."""

if __name__ == "__main__":
    print(*FLAGS)
