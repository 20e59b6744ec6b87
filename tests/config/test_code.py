import json.decoder
from hashlib import sha256
from pathlib import Path

import pytest

from inat_ray.config import code
from inat_ray.config.code import (
    allow,
    allowed,
    check_named,
    checked_code,
    code_of,
    name_code,
    own_code,
    read_code,
)
from inat_ray.config.errors import UserError
from inat_ray.config.load import dump_experiment, load_experiment
from tests.own_network import SOURCE, write_experiment, write_network

DIGEST = sha256(SOURCE.encode()).hexdigest()


@pytest.fixture(autouse=True)
def _no_code_is_allowed(monkeypatch):
    monkeypatch.setattr(code, "_allowed", {})
    monkeypatch.setattr(code, "_named", {})


def written(folder, more="", **given):
    write_network(folder)
    return load_experiment(write_experiment(folder, more, **given))


def of_a_run(folder, digest=DIGEST):
    """An experiment as a run keeps it, with no code beside it."""
    text = f"model: {{kind: module, target: 'my_net.py:Net', sha256: {digest}}}\n"
    path = folder / "experiment.yaml"
    path.write_text(text)
    return load_experiment(path)


def test_an_experiment_of_ones_own_is_kept_with_the_files_name_and_its_digest(
    tmp_path, monkeypatch
):
    experiment = written(tmp_path)
    monkeypatch.chdir("/")
    own = own_code(experiment)
    assert (own.model.target, own.model.sha256) == ("my_net.py:Net", DIGEST)
    assert [(each.place, each.sha256) for each in allowed()] == [("my_net.py", DIGEST)]


def test_reading_an_experiment_or_code_allows_nothing(tmp_path):
    written(tmp_path)
    read_code(str(tmp_path / "my_net.py"))
    assert allowed() == ()


def test_a_target_is_relative_to_the_file_that_names_it(tmp_path):
    (tmp_path / "nets").mkdir()
    write_network(tmp_path / "nets")
    write_experiment(tmp_path / "nets")
    path = tmp_path / "child.yaml"
    path.write_text("extends: nets/own.yaml\n")
    assert own_code(load_experiment(path)).model.sha256 == DIGEST


def test_a_run_is_read_back_as_it_was_kept(tmp_path):
    own = own_code(written(tmp_path))
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "experiment.yaml"
    path.write_text(dump_experiment(own))
    assert load_experiment(path) == own


def test_a_search_over_several_networks_of_a_file_keeps_the_name_and_digest_in_each(tmp_path):
    more = """
search:
  method: grid
  parameters:
    model:
      values:
      - {kind: cnn}
      - {kind: module, target: 'my_net.py:Net', args: {target: 'a.py:b'}}
    model.target: {values: ['my_net.py:Net', 'my_net.py:with_two_layers']}
  first: [{model.target: 'my_net.py:Net'}]
"""
    search = own_code(written(tmp_path, more)).search
    _, model = search.parameters["model"]["values"]
    assert model == {
        "kind": "module",
        "target": "my_net.py:Net",
        "args": {"target": "a.py:b"},
        "sha256": DIGEST,
    }
    names = ["my_net.py:Net", "my_net.py:with_two_layers"]
    assert search.parameters["model.target"]["values"] == names
    assert search.first == [{"model.target": "my_net.py:Net"}]


def test_networks_of_two_files_in_one_experiment_are_refused(tmp_path):
    more = "search: {parameters: {model.target: {values: ['my_net.py:Net', 'other.py:Net']}}}\n"
    with pytest.raises(UserError, match=r"my_net\.py, .*other\.py: .* from one file"):
        own_code(written(tmp_path, more))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("missing.py:Net", r"there is no file .*missing\.py"),
        ("no_such_module:Net", "no module no_such_module is installed here"),
        ("no.such.module:Net", r"no module no\.such\.module is installed here"),
        (".:Net", "no module . is installed here"),
    ],
)
def test_code_that_is_not_there_is_told(tmp_path, target, message):
    with pytest.raises(UserError, match=message):
        own_code(written(tmp_path, target=target))


@pytest.mark.parametrize("target", ["Net", "my_net.py:", "my_net.py:1", ":Net", "my_net.py"])
def test_a_target_that_is_none_is_told_with_what_is_allowed(tmp_path, target):
    with pytest.raises(UserError, match=r"my_net\.py:TinyNet or package\.module:TinyNet"):
        written(tmp_path, target=target)


def test_the_number_of_classes_is_no_argument_to_give(tmp_path):
    write_experiment(tmp_path).write_text(
        "model: {kind: module, target: 'a.py:Net', args: {classes: 3}}"
    )
    with pytest.raises(UserError, match="the number of classes of the data; leave it out"):
        load_experiment(tmp_path / "own.yaml")


def test_a_runs_code_may_run_only_once_it_is_named(tmp_path):
    write_network(tmp_path)
    experiment = of_a_run(tmp_path)
    with pytest.raises(UserError, match=r"runs only if you name it: --code my_net\.py"):
        checked_code(experiment)
    with pytest.raises(UserError, match="runs only if you name it"):
        own_code(experiment)  # it has a digest, and so is a run's
    name_code(str(tmp_path / "my_net.py"))
    assert checked_code(experiment).model == experiment.model
    name_code(None)
    with pytest.raises(UserError, match="runs only if you name it"):
        code_of(experiment)


def test_other_code_is_told_with_both_digests_and_the_word_that_lets_it_run(tmp_path):
    other = write_network(tmp_path, SOURCE + "# changed\n", name="other.py")
    experiment, digest = of_a_run(tmp_path), sha256(other.read_bytes()).hexdigest()
    name_code(str(other))
    with pytest.raises(UserError, match=f"{DIGEST[:16]}.*{digest[:16]}.*--changed-code"):
        checked_code(experiment)
    name_code(str(other), changed=True)
    changed = checked_code(experiment).model
    assert (changed.target, changed.sha256) == ("other.py:Net", digest)


def test_a_run_without_a_digest_lets_no_code_run_by_its_name(tmp_path):
    write_network(tmp_path)
    experiment = of_a_run(tmp_path, digest="null")
    allow(read_code(str(write_network(tmp_path, "x = 1", name="other.py"))))
    with pytest.raises(UserError, match=r"was code of no SHA-256, and other\.py has SHA-256"):
        checked_code(experiment)


def test_the_word_for_changed_code_needs_code():
    with pytest.raises(UserError, match="--changed-code: needs --code FILE"):
        name_code(None, changed=True)


def test_a_network_that_is_searched_beside_other_kinds_is_listed_as_a_whole_model(tmp_path):
    write_network(tmp_path)
    path = tmp_path / "kinds.yaml"
    path.write_text("""
search:
  parameters:
    model.kind: {values: [cnn, module]}
    model.target: {value: 'my_net.py:Net', when: {model.kind: module}}
""")
    with pytest.raises(UserError, match="is listed as a whole model"):
        own_code(load_experiment(path))


def test_code_that_is_named_beside_an_experiment_that_names_other_code_is_refused(tmp_path):
    other = write_network(tmp_path, "x = 1", name="other.py")
    experiment = written(tmp_path)
    name_code(str(other))
    with pytest.raises(UserError, match=r"--code: .* the experiment names .*my_net\.py"):
        own_code(experiment)
    name_code(str(tmp_path / "my_net.py"))
    assert own_code(experiment).model.sha256 == DIGEST


def test_named_code_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match=r"--code: there is no file .*none\.py"):
        name_code(str(tmp_path / "none.py"))


def test_an_installed_module_is_known_by_its_own_file():
    found = read_code("json.decoder")
    assert (found.place, found.source) == ("json.decoder", None)
    assert found.sha256 == sha256(Path(json.decoder.__file__).read_bytes()).hexdigest()


def test_an_experiment_without_a_network_of_ones_own_stays_as_it_is():
    experiment = load_experiment(None)
    assert own_code(experiment) is experiment
    assert code_of(experiment) is None


def test_code_that_nothing_needs_is_told(tmp_path):
    own, cnn = of_a_run(tmp_path), load_experiment(None)
    check_named(cnn)
    name_code(str(write_network(tmp_path)))
    check_named(cnn, own)
    for refuse in (check_named, own_code, checked_code):
        with pytest.raises(
            UserError, match=r"^--code: my_net\.py: there is no network of your own"
        ):
            refuse(cnn)
