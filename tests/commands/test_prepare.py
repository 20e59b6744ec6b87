import json


def test_prepare_says_what_it_found(told, data_folder, small_settings, tmp_path):
    settings = [arg for line in small_settings for arg in ("--set", line)]
    code, text = told(
        "prepare", "--data", data_folder, "--out", tmp_path / "p", "--json", *settings
    )
    assert code == 0, text
    result = json.loads(text.splitlines()[-1])
    assert result["images"] == {"train": 48, "validation": 12, "test": 15}
    assert result["classes"] == ["ash", "beech", "cedar"]
    split = json.loads((tmp_path / "p" / "split.json").read_text())
    assert len(split["train"]) == 48


def test_without_a_run_folder_the_pack_alone_is_made(told, data_folder, small_settings, tmp_path):
    settings = [arg for line in small_settings for arg in ("--set", line)]
    settings += ["--set", f"data.cache={tmp_path}"]
    code, text = told("prepare", "--data", data_folder, *settings)
    assert code == 0, text
    assert [path.name for path in tmp_path.iterdir()] == ["packs"]
    [pack] = tmp_path.glob("packs/*.pack")
    assert f"pack  {pack}" in text


def test_a_run_that_is_there_is_kept(told, data_folder, small_settings, tmp_path):
    settings = [arg for line in small_settings for arg in ("--set", line)]
    ask = ("prepare", "--data", data_folder, "--out", tmp_path / "p", *settings)
    assert told(*ask)[0] == 0
    code, text = told(*ask)
    assert code == 2
    assert "--overwrite" in text
