import pytest

from seqrl_jax.devices import usable_cores
from seqrl_jax.runs.executors.registry import executor
from seqrl_jax.runs.executors.resources import Resources, resources


def test_a_row_takes_the_cores_of_this_process_unless_something_else_is_said():
    assert resources([]) == Resources(usable_cores())
    assert resources(["cpus=3", "gpus=0.5", "TPU=4"]) == Resources(3, 0.5, {"TPU": "4"})


def test_memory_of_a_shared_device_is_not_taken_at_once():
    assert Resources(1, 0.5).environment == {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    assert Resources(1, 1).environment == {} == Resources(1, 0, {"TPU": "4"}).environment
    assert Resources(1).environment == {"JAX_PLATFORMS": "cpu"}


@pytest.mark.parametrize(
    "words, said",
    [
        (["cpus"], "'cpus' is not NAME=VALUE"),
        (["cpus=1", "cpus=2"], "cpus stands twice"),
        (["cpus=0"], "cpus must be a whole number"),
        (["cpus=1.5"], "cpus must be a whole number"),
        (["gpus=-1"], "gpus must be a number"),
        (["gpus=nan"], "gpus must be a number"),
    ],
)
def test_bad_resources_are_named(words, said):
    with pytest.raises(ValueError, match=f"--resources: {said}"):
        resources(words)


@pytest.mark.parametrize(
    "asked, said",
    [
        (("local", "here:1", []), "--address: local has none"),
        (("slurm", "here:1", []), "--address: slurm has none"),
        (("local", None, ["cpus=1"]), "--resources: local takes"),
        (("local", None, []), "--attempts: local makes one"),
    ],
)
def test_an_executor_refuses_what_it_does_not_have(asked, said):
    with pytest.raises(ValueError, match=said):
        executor(*asked, 3)


@pytest.mark.parametrize("name, package", [("ray", "ray"), ("slurm", "submitit")])
def test_without_its_extra_an_executor_says_what_to_install(monkeypatch, name, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=rf'for --executor {name}: pip install "seqrl_jax\[{name}\]"') as error:
        executor(name, None, [], 3)
    assert error.value.name is None, "the command line prints it as a line"
