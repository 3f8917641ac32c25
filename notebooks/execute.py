"""Execute the notebooks in this folder; with --save, keep what they show.

    python notebooks/execute.py            # check that they run
    python notebooks/execute.py 06 --save  # and store the outputs in the file, of one
    python notebooks/execute.py --at-once 2

SEQRL_NOTEBOOK_SIZE=small runs them at the smallest size.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="how the files' names begin (all)")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="so many side by side (1)")
    parser.add_argument("--save", action="store_true", help="keep the outputs")
    options = parser.parse_args()
    chosen = [path for path in sorted(HERE.glob("*.ipynb")) if path.name.startswith(tuple(options.names or [""]))]
    if not chosen:
        parser.error(f"no notebook begins with {' or '.join(options.names)}")
    with ThreadPoolExecutor(options.at_once) as pool:
        for line in pool.map(lambda path: executed(path, options.save), chosen):
            print(line, flush=True)


def executed(path: Path, save: bool) -> str:
    """Execute a notebook in a process of its own. Returns: how long that took, in a line."""
    begin = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    # Where a reader's kernel stands: beside the notebook.
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": HERE}}).execute()
    if save:
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, path)
    return f"executed {path.name} in {time.perf_counter() - begin:.0f} s"


if __name__ == "__main__":
    main()
