import json

import pytest

from tests.run.made_up_runs import cut_off_run, finished_run, make_run, search_records


@pytest.fixture
def runs(tmp_path):
    """Two runs, of which one can be resumed, and a cache of packs."""
    packs = tmp_path / "cache" / "packs"
    packs.mkdir(parents=True)
    (packs / f"{'2' * 24}.arrow").write_bytes(b"x" * 10)
    data = {"cache": str(tmp_path / "cache"), "source": "demo", "demo_images_per_class": 10}
    finished_run(tmp_path / "runs" / "over", time=1.0, data=data)
    cut_off_run(tmp_path / "runs" / "cut", data=data)
    return tmp_path / "runs"


def last_line(text: str):
    return json.loads(text.splitlines()[-1])


@pytest.mark.parametrize("words", [[], ["list"]])
def test_the_list_is_what_is_meant_where_no_command_is_named(told, runs, words):
    code, text = told("runs", *words, runs, "--json")
    assert code == 0, text
    rows = {row["path"].rpartition("/")[2]: row for row in last_line(text)["runs"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "over": "finished",
        "cut": "cut off",
    }
    assert rows["over"]["best"] == 0.7


def test_help_names_the_other_commands(told):
    code, text = told("runs", "--help")
    assert code == 0
    assert "compare" in text
    assert "clean" in text
    code, text = told("runs", "clean", "--help")
    assert "--older-than" in text


def test_a_folder_without_runs_says_so(told, tmp_path):
    code, text = told("runs", tmp_path)
    assert code == 0
    assert "holds no run" in text.replace("\n", "")


def test_a_damaged_run_is_listed_with_its_reason(told, runs):
    (runs / "over" / "result.json").write_text("{")
    code, text = told("runs", runs)
    assert code == 0
    assert "result.json: cannot be read (Invalid JSON" in text.replace("\n", "")


def test_of_one_run_the_best_trials_by_their_costs_are_shown(told, tmp_path):
    records = search_records()
    for place, speed in ((1, 200.0), (4, 100.0)):  # the starts of a and b, then an epoch
        records[place] = records[place].model_copy(update={"epochs": 1})
        records[place + 1] = records[place + 1].model_copy(update={"images_per_second": speed})
    run = make_run(tmp_path / "run", records, result={})
    code, text = told("runs", run, "--json")
    assert code == 0, text
    assert last_line(text)["fronts"] == {"ms_per_image": ["a", "b"]}
    assert "the best for what they cost" in text
    assert f"--resume {run} --pick a" in text.replace("\n", "")
    code, text = told("runs", tmp_path, "--json")
    assert "fronts" not in last_line(text)


def test_runs_are_compared(told, runs):
    code, text = told("runs", "compare", runs / "over", runs / "cut", "--json")
    assert code == 0, text
    result = last_line(text)
    assert [row["state"] for row in result["runs"]] == ["finished", "cut off"]
    assert result["settings"] == {}


def test_without_a_terminal_nothing_is_removed(told, runs):
    before = sorted(runs.rglob("*"))
    code, text = told("runs", "clean", runs)
    assert code == 2
    assert "nothing was removed" in text
    assert "checkpoints" in text
    assert sorted(runs.rglob("*")) == before


def test_with_yes_what_was_shown_is_removed(told, runs, tmp_path):
    code, text = told("runs", "clean", runs, "--packs", "--yes", "--json")
    assert code == 0, text
    assert last_line(text)["bytes"] == 1240
    assert not (runs / "over" / "checkpoints").exists()
    assert (runs / "over" / "best.safetensors").exists()
    assert (runs / "cut" / "checkpoints").exists()
    assert not (tmp_path / "cache" / "packs" / f"{'2' * 24}.arrow").exists()
    code, text = told("runs", "clean", runs, "--packs", "--yes", "--json")
    assert code == 0
    assert "there is nothing to remove" in text
    assert last_line(text) == {"removed": [], "bytes": 0}


def test_keep_all_leaves_runs_as_they_are(told, runs):
    code, text = told("runs", "clean", runs, "--keep", "all", "--yes")
    assert code == 0
    assert "there is nothing to remove" in text


@pytest.mark.parametrize(("answer", "stays"), [("n", True), ("y", False)])
def test_the_answer_on_a_terminal_decides(told, runs, monkeypatch, answer, stays):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: answer == "y")
    code, text = told("runs", "clean", runs)
    assert code == 0, text
    assert (runs / "over" / "checkpoints").exists() is stays


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: there is no such folder"),
        (["compare", "RUNS/over"], "two runs at least are needed"),
        (["compare", "RUNS/over", "RUNS"], "holds no run"),
        (["clean", "RUNS", "--keep", "none"], "none"),
        (["clean", "RUNS", "--older-than", "-1"], "greater than or equal to 0"),
    ],
)
def test_a_mistake_ends_with_2_and_its_reason(told, runs, words, message):
    code, text = told("runs", *(word.replace("RUNS", str(runs)) for word in words))
    assert code == 2
    assert message in " ".join(text.split())
    assert (runs / "over" / "checkpoints").exists()
