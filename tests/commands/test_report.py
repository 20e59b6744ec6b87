import shutil

import pytest


def test_a_run_gets_its_page_without_another_look_at_the_test_set(swept, told, tmp_path):
    folder, _ = swept
    before = (folder / "log" / "events.jsonl").read_bytes()
    page = tmp_path / "page.html"
    code, text = told("report", folder, "--out", page)
    assert code == 0, text
    assert str(page) in text
    assert page.read_bytes() == (folder / "report.html").read_bytes()
    assert (folder / "log" / "events.jsonl").read_bytes() == before


def test_several_runs_are_compared_where_the_user_stands(swept, told, tmp_path, monkeypatch):
    folder, _ = swept
    shutil.copytree(folder, tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    code, text = told("report", folder.resolve(), "other")
    assert code == 0, text
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "2 runs compared" in page
    assert ">other<" in page


def test_what_a_run_lacks_is_said_in_the_terminal_too(swept, told, tmp_path):
    shutil.copytree(swept[0], tmp_path / "run")
    (tmp_path / "run" / "best.safetensors").unlink()
    code, text = told("report", tmp_path / "run")
    assert code == 0, text
    assert "There is no model here (best.safetensors)" in " ".join(text.split())


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_what_is_no_run_is_refused_with_its_name(told, tmp_path, name):
    (tmp_path / "empty").mkdir()
    code, text = told("report", tmp_path / name)
    assert code == 2
    assert str(tmp_path / name) in text
    assert "Traceback" not in text
