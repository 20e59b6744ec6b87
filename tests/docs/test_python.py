"""What docs/ shows of Python runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.slow


def test_the_snippets_of_the_page_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    snippets = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
    (tmp_path / "page.py").write_text("\n".join(snippets))
    line = [sys.executable, "page.py"]
    done = subprocess.run(
        line, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "arrow" in done.stdout


# nbclient and its kernel leave sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs_and_its_progress_stays_in_its_cell(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    notebook = nbformat.read(DOCS / "quickstart.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=280, startup_timeout=180, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = "".join(output.get("text", "") for output in code[1].outputs)
    assert "trial_0000" in shown
    assert (tmp_path / "runs" / "notebook" / "best.safetensors").exists()
