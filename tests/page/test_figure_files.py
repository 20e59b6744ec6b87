"""Figures as files."""

import re
import xml.etree.ElementTree as ET

import pytest

from inat_ray.config.errors import UserError
from inat_ray.page import figure_files
from inat_ray.page.axes import linear
from inat_ray.page.figure import Figure, Plot
from inat_ray.page.figure_files import check_folder, write_figures
from inat_ray.page.marks import Box, Dot


@pytest.fixture
def figure() -> Figure:
    plot = Plot(linear("epoch", [0, 1]), linear("loss", [0, 1]))
    box = Box((0, 0), (1, 1), "#abcdef", value="± 10⁻³, 類", is_written=True)
    plot.add(Dot(0, 1, trial="trial_0000"), box)
    return Figure("curves", "l", {"val acc": [plot], "loss": [plot]})


def test_each_view_is_a_picture_its_data_and_a_pdf_with_its_fonts(figure, tmp_path):
    pytest.importorskip("vl_convert")
    assert write_figures([figure], tmp_path / "new" / "figures") == 2
    files = {path.name: path.read_bytes() for path in (tmp_path / "new" / "figures").iterdir()}
    names = {
        f"{name}.{kind}" for name in ("curves", "curves-loss") for kind in ("svg", "csv", "pdf")
    }
    assert files.keys() == names
    ET.fromstring(files["curves.svg"])
    assert files["curves.pdf"].startswith(b"%PDF")
    assert b"/FontFile" in files["curves.pdf"]
    width = re.search(rb"/MediaBox *\[0 0 (\d+)", files["curves.pdf"])
    assert int(width[1]) == pytest.approx(148 / 25.4 * 72, abs=1)


def test_without_its_package_there_is_no_pdf(figure, tmp_path, monkeypatch):
    monkeypatch.setattr(figure_files, "PDF_MAKER", "is_not_there")
    write_figures([figure], tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".svg", ".csv"}


def test_a_file_is_no_folder_for_figures(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--figures .*file: is a file; a folder is allowed"):
        check_folder(tmp_path / "file")
