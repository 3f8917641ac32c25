"""What an installation lacks is named, with the command that installs it."""

import importlib.metadata
import json

from seqrl_jax import cli
from seqrl_jax.commands.doctor import Need, needs, said

NUMPY = importlib.metadata.version("numpy")


def test_needs_are_met_too_old_missing_or_not_of_this_machine():
    requirements = [
        "numpy>=1.0",
        "numpy>=1000; extra == 'new'",
        "no_such_package; extra == 'new'",
        "numpy<1; python_version < '3' and extra == 'new'",
        "seqrl_jax[new]; extra == 'all'",
    ]
    met, old, missing = needs(requirements, ["new", "all"])
    assert met == Need("numpy", ">=1.0", "", NUMPY, True)
    assert old == Need("numpy", ">=1000", "new", NUMPY, False) and not missing.suits
    assert said(old) == f"numpy {NUMPY} is not >=1000" and said(missing) == "no_such_package is missing"


def test_the_doctor_names_what_is_here(capsys):
    assert cli.main(["doctor", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["versions"]["numpy"] == NUMPY and output["device"]
    assert all(need["suits"] for need in output["needs"] if not need["extra"])
    assert cli.main(["doctor"]) == 0
    assert "core: complete" in capsys.readouterr().out
