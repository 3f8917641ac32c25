"""Execute every notebook in this folder; with --save, keep what they show.

    python notebooks/execute.py            # check that they run
    python notebooks/execute.py --save     # and store the outputs in the files

SEQRL_NOTEBOOK_SIZE=small runs them at the smallest size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
        if options.save:
            for cell in notebook.cells:
                cell.metadata.pop("execution", None)
            nbformat.write(notebook, path)
        print(f"executed {path.name}")


if __name__ == "__main__":
    main()
