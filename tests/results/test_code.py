import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from seqrl_jax.results import code
from seqrl_jax.results.code import Package

FILES = {
    "__init__.py": "",
    "agents/__init__.py": "from pack.agents.one import One\nfrom pack.agents.two import Two\n",
    "agents/one.py": """
        '''One agent.'''
        from __future__ import annotations

        import math
        import numpy as np
        from typing import TYPE_CHECKING

        from pack.memory import GRU

        if TYPE_CHECKING:
            from pack.other import Thing


        class One:
            '''It learns.'''

            width: int = 3
            '''How wide.'''

            def act(self, o: Thing) -> float:
                '''An action.'''
                return self.width + math.pi * o  # a comment
        """,
    "agents/two.py": "from ..memory import Attention, LIMIT\n\ndef two():\n    from pack import late\n",
    "memory/__init__.py": """
        from pack.memory.attention import Attention
        from .recurrent import Cell as GRU

        LIMIT = 3
        """,
    "memory/attention.py": "class Attention: pass\n",
    "memory/recurrent.py": "import pack.base as base\n\nclass Cell(base.Base): pass\n",
    "base.py": "class Base: pass\n",
    "other.py": "class Thing: pass\n",
    "late.py": "x = f'{1}' 'b'\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))
    return tmp_path / "pack"


def change(folder, name, old, new):
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def of(folder, *modules):
    return Package("pack", folder).fingerprint(modules)


def test_what_a_module_needs_is_followed_through_re_exports(folder):
    package = Package("pack", folder)
    assert package.reached(["pack.agents.one"]) == {"pack.agents.one", "pack.memory.recurrent", "pack.base"}
    everything_of_memory = {"pack.memory", "pack.memory.attention", "pack.memory.recurrent", "pack.base"}
    assert package.reached(["pack.agents.two"]) == {"pack.agents.two", "pack.late"} | everything_of_memory


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("agents/one.py", "3", "4"),
        ("agents/one.py", "+", "-"),
        ("agents/one.py", "import numpy as np", "import jax.numpy as np"),
        ("agents/one.py", "class One", "class Uno"),
        ("memory/recurrent.py", "pass", "size = 1"),
        ("base.py", "Base: pass", "Base: size = 1.0"),
    ],
)
def test_a_change_of_code_changes_it(folder, name, old, new):
    before = of(folder, "pack.agents.one")
    change(folder, name, old, new)
    assert of(folder, "pack.agents.one") != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("agents/one.py", "# a comment", "# another"),
        ("agents/one.py", "'''An action.'''", "'''Something else.'''"),
        ("agents/one.py", "        '''An action.'''\n", ""),
        ("agents/one.py", "'''How wide.'''", "'''In units.'''"),
        ("agents/one.py", "'''One agent.'''", "'''It is one.'''"),
        ("agents/one.py", "import math\nimport numpy as np\n", "import numpy as np\nimport math\n"),
        ("agents/one.py", "self.width + math.pi * o", "(\n            self.width  +  (math.pi*o)\n        )"),
        ("agents/one.py", "int = 3", "int = 0x3"),
        ("agents/one.py", "from pack.other import Thing", "from pack.late import Thing"),
        ("agents/one.py", "from pack.memory import GRU", "from pack.memory import (\n    GRU,\n)"),
        ("agents/two.py", "two", "three"),
        ("agents/__init__.py", "Two", "Two as Three"),
        ("memory/__init__.py", "LIMIT = 3", "LIMIT = 4"),
        ("memory/attention.py", "pass", "size = 1"),
        ("other.py", "pass", "size = 1"),
        ("late.py", "1", "2"),
    ],
)
def test_a_change_that_it_does_not_depend_on_leaves_it(folder, name, old, new):
    before = of(folder, "pack.agents.one")
    change(folder, name, old, new)
    assert of(folder, "pack.agents.one") == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("late.py", "1", "2"), ("memory/__init__.py", "3", "4"), ("memory/attention.py", "pass", "x = 1")],
)
def test_imports_inside_functions_and_names_of_a_package_count(folder, name, old, new):
    before = of(folder, "pack.agents.two")
    change(folder, name, old, new)
    assert of(folder, "pack.agents.two") != before


def test_the_order_of_modules_does_not_matter_but_which_they_are_does(folder):
    one, two = "pack.agents.one", "pack.agents.two"
    assert of(folder, one, two) == of(folder, two, one) != of(folder, one)


def test_cycles_end(folder):
    change(folder, "base.py", "class", "import pack.agents.one\nclass")
    assert "pack.base" in Package("pack", folder).reached(["pack.agents.one"])


@pytest.mark.parametrize(("content", "message"), [(None, "no module pack.base"), ("class", "pack.base cannot be read")])
def test_a_module_that_is_not_there_or_does_not_parse_is_named(folder, content, message):
    (folder / "base.py").unlink()
    if content is not None:
        (folder / "base.py").write_text(content)
    with pytest.raises(ValueError, match=message):
        of(folder, "pack.agents.one")


def test_modules_of_several_packages_count_together(folder, monkeypatch):
    """A method may stand in a module of the user's own, beside the package."""
    (folder.parent / "seqrl_own_method.py").write_text("import math\n\nx = math.pi\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    ours = code.fingerprint(["seqrl_jax.files"])
    both = code.fingerprint(["seqrl_jax.files", "seqrl_own_method"])
    assert both == code.fingerprint(["seqrl_own_method", "seqrl_jax.files"]) != ours
    assert "seqrl_own_method" not in sys.modules
    with pytest.raises(ValueError, match="there is no module seqrl_no_method"):
        code.fingerprint(["seqrl_no_method"])


def test_a_folder_without_an_init_is_a_package_too(tmp_path, monkeypatch):
    """Where somebody's own environment may stand."""
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "signals.py").write_text("from loose.help import x\n")
    (tmp_path / "loose" / "help.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = code.fingerprint(["loose.signals"])
    (tmp_path / "loose" / "help.py").write_text("x = 2\n")
    code._package.cache_clear()
    code._fingerprint.cache_clear()
    assert code.fingerprint(["loose.signals"]) != before


def test_nothing_is_imported(folder):
    change(folder, "base.py", "class", "raise SystemExit\nclass")
    assert of(folder, "pack.base")
    assert "pack" not in sys.modules


@pytest.mark.parametrize("python", ["python3.12", "python3.13", "python3.14"])
def test_other_versions_of_python_agree(folder, python):
    script = "import sys\nfrom pathlib import Path\nexec(compile(Path(sys.argv[1]).read_text(), 'code', 'exec'))\n"
    script += "print(Package('pack', Path(sys.argv[2])).fingerprint(['pack.agents.one', 'pack.agents.two']))"
    try:
        words = [python, "-c", script, code.__file__, str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip(f"{python} is not installed")
    if done.returncode and "Traceback" not in done.stderr:
        pytest.skip(f"{python} does not start")
    assert done.stdout.strip() == of(folder, "pack.agents.one", "pack.agents.two"), done.stderr


def test_a_pinned_package_has_a_pinned_fingerprint(folder):
    """Recorded results hold it: a change of how it is computed makes every recorded cell run again."""
    pinned = "2b7721a6a753bc7fe588fef6425500d63745b339b7ec6c4536c035e5ec21225f"
    assert of(folder, "pack.agents.one", "pack.agents.two") == pinned


def test_the_packages_own_agents_depend_on_their_own_parts():
    package = code._package("seqrl_jax")
    ppo = package.reached(["seqrl_jax.agents.ppo"])
    assert {"seqrl_jax.estimators", "seqrl_jax.networks.recurrent"} <= ppo
    assert not ppo & {"seqrl_jax.networks.attention", "seqrl_jax.agents.registry", "seqrl_jax.networks.gpt"}
    assert code.fingerprint(["seqrl_jax.agents.ppo"]) == package.fingerprint(["seqrl_jax.agents.ppo"])
    assert all(Path(package.folder, *name.split(".")[1:]).with_suffix(".py").is_file() for name in ppo)
