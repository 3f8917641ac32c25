from pathlib import Path

from seqrl_jax.report.site.links import page
from seqrl_jax.report.site.sheet import sources


def test_names_that_a_file_system_confuses_have_pages_of_their_own():
    names = [
        ("pomdp", "a/b"),
        ("pomdp", "a:b"),
        ("pomdp", "A:b"),
        ("pomdp--a", "b"),
        ("pomdp", "a--b"),
        ("", "." * 300),
    ]
    pages = [page("tasks", *name) for name in names]
    assert len({path.lower() for path in pages}) == len(names)
    assert all(path.count("/") == 1 and len(path) < 90 and not path.startswith("tasks/.") for path in pages)


def test_directories_are_called_by_as_much_of_their_path_as_tells_them_apart():
    assert sources([Path("runs/quick"), Path("runs/lm")]) == ["quick", "lm"]
    assert sources([Path("old/quick"), Path("new/quick")]) == ["old/quick", "new/quick"]
    assert sources([]) == []
    assert sources([Path("runs/r\udcff")]) == [r"r\udcff"], "a name that is no text is shown as one"
