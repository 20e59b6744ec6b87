import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from inat_ray.config import code
from inat_ray.config.code import own_code
from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment
from inat_ray.config.space import search_space
from inat_ray.models.build import build_model, check_model, check_models, structure_of
from inat_ray.models.complexity import complexity
from inat_ray.models.freeze import freezing_of, set_trained
from inat_ray.models.layers import layers_of
from tests.own_network import SOURCE, write_experiment, write_network

SIZE = "data: {image_size: 32}\n"


@pytest.fixture(autouse=True)
def _no_code_is_allowed(monkeypatch):
    monkeypatch.setattr(code, "_allowed", {})
    monkeypatch.setattr(code, "_named", {})


def own(folder: Path, source: str = SOURCE, *, more: str = "", target: str = "my_net.py:Net"):
    write_network(folder, source)
    return own_code(load_experiment(write_experiment(folder, SIZE + more, target=target)))


def network(body: str, *, start: str = "pass") -> str:
    """A file with a network whose forward has this body."""
    return f"""import sys
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.dense = nn.Linear(3, classes)
        {start}

    def forward(self, images):
        {body}
"""


GOOD = "return self.dense(images.mean(dim=(2, 3)))"


def test_a_network_that_knows_nothing_of_us_is_built_alike_from_a_seed(tmp_path):
    experiment = own(tmp_path)
    first, second = (build_model(experiment, classes=3, weights=None) for _ in range(2))
    assert isinstance(first, nn.Module)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])


def test_numbers_that_a_file_draws_as_it_runs_do_not_change_what_is_built(tmp_path):
    experiment = own(tmp_path, "import torch\ntorch.rand(7)\n" + network(GOOD))
    first, second = (build_model(experiment, classes=3, weights=None) for _ in range(2))
    assert torch.equal(first.dense.weight, second.dense.weight)


def test_its_layers_are_in_forward_order_and_its_head_is_the_last(tmp_path):
    experiment = own(tmp_path)
    model = build_model(experiment, classes=3, weights=None)
    structure = structure_of(model, experiment, classes=3)
    assert [names[0] for names in structure.layers] == ["first", "second", "dense", "head"]
    assert sum(len(layer.parameters) for layer in layers_of(model, structure)) == 11
    assert freezing_of(model, experiment.model, structure).head == 1


def test_its_cost_is_counted(tmp_path):
    found = complexity(own(tmp_path), classes=3)
    assert found.layers == 4
    assert found.macs == 32 * 32 * 8 * 3 * 9 + 16 * 16 * 16 * 8 * 9 + 16 * 16 + 16 * 3


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_layers_that_find_their_own_size_are_built_for_the_image(tmp_path):
    experiment = own(tmp_path, target="my_net.py:with_two_layers")
    model = build_model(experiment, classes=3, weights=None)
    assert model[1].weight.shape == (8, 3 * 32 * 32)
    check_model(experiment)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ValueError('no luck')", r"ValueError: no luck \(my_net\.py, line 1\)"),
        ("import sys\nsys.exit(0)", r"SystemExit: 0 \(my_net\.py, line 2\)"),
        ("class Net(:", r"SyntaxError: .*my_net\.py, line 1"),
        ("import nothing_of_that_name", r"No module named 'nothing_of_that_name' \(my_net\.py, l"),
        ("class Other: pass", r"my_net\.py has no Net; it has no nn\.Module"),
        (network(GOOD).replace("class Net", "class Mine"), "has no Net; it has Mine"),
        ("Net = 3", "has no class or function Net"),
        ("Net = dict", r"made a dict, and an nn\.Module is needed"),
        ("from torch import nn\ndef Net(classes): return nn.ReLU()", "without parameters"),
        (network(GOOD, start="1 / 0"), r"ZeroDivisionError: .*\(my_net\.py, line 9\)"),
        (network("return images.no"), r"AttributeError: .*\(my_net\.py, line 12\)"),
        (network("return self.dense(images)"), r"32 x 32 pixels: RuntimeError: .*my_net\.py, line"),
        (network("return {'logits': self.dense(images.mean(dim=(2, 3)))}"), "returns no tensor"),
        (network(GOOD.replace("(images", "(images[:, :, :1]")[:-1] + "[0])"), "returns"),
        (network(f"{GOOD}.detach()"), "does not train: RuntimeError"),
        (
            network("out = self.dense(images.mean(dim=(2, 3)))\n"
                    "        return (out, out) if self.training else out"),
            r"in training mode: returns no tensor for images \(3, 3, s, s\)",
        ),
        (
            network("if self.training: raise ValueError('later')\n        " + GOOD),
            r"does not train: ValueError: later \(my_net\.py, line 12\)",
        ),
        (
            network(GOOD) + "    def get_classifier(self): return self.nothing\n",
            r"get_classifier\(\): AttributeError: .*\(my_net\.py, line 13\)",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_the_line_that_it_is_in(tmp_path, source, message):
    with pytest.raises(UserError, match=message) as caught:
        check_model(own(tmp_path, source))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("model")


def test_a_network_with_a_number_of_classes_of_its_own_is_refused(tmp_path):
    source = SOURCE.replace("nn.Linear(2 * width, classes)", "nn.Linear(2 * width, 10)")
    with pytest.raises(UserError, match=r"returns \(1, 10\) for .* logits \(1, 2\) are needed"):
        check_model(own(tmp_path, source))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("{widht: 4}", r"unexpected keyword argument 'widht'; it takes classes, width, dropout"),
        ("{width: wide}", r"TypeError: .*\(my_net\.py, line 11\)"),
    ],
)
def test_an_argument_that_it_does_not_take_is_told(tmp_path, args, message):
    experiment = own(tmp_path)
    write_experiment(tmp_path).write_text(
        f"model: {{kind: module, target: 'my_net.py:Net', args: {args}}}"
    )
    experiment = own_code(load_experiment(tmp_path / "own.yaml"))
    with pytest.raises(UserError, match=message):
        check_model(experiment)


def test_a_network_that_needs_pytorchs_own_layout_is_told_so_unless_the_recipe_keeps_it(tmp_path):
    source = network("return self.dense(images.view(len(images), -1)[:, :3])")
    with pytest.raises(UserError, match=r"view size is not compatible .*\.reshape.*line 12"):
        check_model(own(tmp_path, source))
    check_model(own(tmp_path, source, more="recipe: {channels_last: false}\n"))


@pytest.mark.parametrize("strategy", ["head_only", "freeze_fc", "gradual"])
def test_a_strategy_that_speaks_of_a_head_is_refused_by_name_where_there_is_none(
    tmp_path, strategy
):
    experiment = own(tmp_path, SOURCE.replace("self.head", "self.last"))
    every = 1 if strategy == "gradual" else None
    freeze = experiment.model.freeze.model_copy(update={"strategy": strategy, "every": every})
    model = experiment.model.model_copy(update={"freeze": freeze})
    with pytest.raises(UserError, match=f"model.freeze.strategy: {strategy}: speaks of the head"):
        check_model(experiment.model_copy(update={"model": model}))


WITH_SPARES = SOURCE.replace(
    "        self.head =",
    "        self.spare = nn.Linear(4, 4)\n"
    "        self.still = nn.Linear(width, width).requires_grad_(False)\n"
    "        self.head =",
).replace(
    "        features = torch.relu(self.second(maps))",
    "        maps = self.still(maps.movedim(1, 3)).movedim(3, 1)\n"
    "        features = torch.relu(self.second(maps))",
)
"""A network with a layer that it never calls, and one that its author keeps still."""


def test_parameters_that_have_no_part_in_the_logits_are_told_once(tmp_path):
    more = "search: {method: random, parameters: {model.args.width: {values: [4, 8]}}}\n"
    experiment = own(tmp_path, WITH_SPARES, more=more)
    told = [
        "model: my_net.py:Net: spare.weight, spare.bias: have no part in its logits, so they do"
        " not train"
    ]
    assert check_model(experiment) == told
    assert check_models(experiment, search_space(experiment)) == told
    assert check_model(own(tmp_path)) == []


def test_what_a_networks_author_keeps_still_does_not_train(tmp_path):
    experiment = own(tmp_path, WITH_SPARES)
    model = build_model(experiment, classes=3, weights=None)
    layers = layers_of(model, structure_of(model, experiment, classes=3))
    set_trained(layers, [True] * len(layers))
    kept = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert kept == {"still.weight", "still.bias"}
    counted = complexity(experiment, classes=3)
    assert counted.parameters - counted.trainable_parameters == 8 * 8 + 8


SEARCH = "search: {method: random, parameters: {%s}}\n"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("model.args.widht: {min: 2, max: 4}", "widht 2, images of 32 pixels: .*'widht'; it takes"),
        (
            "model.args.dropout: {min: 0.0, max: 2.0}",
            "dropout 2.0, images of 32 pixels: .*ValueError: dropout",
        ),
        (
            "model.args.width: {values: [4, 8]},"
            " model.args.dropout: {values: [0.1, 3], when: {model.args.width: 8}}",
            "width 8, dropout 3, images of 32 pixels: ",
        ),
        (
            "model.target: {values: ['my_net.py:Net', 'my_net.py:No']}",
            "has no No; it has Net",
        ),
    ],
)
def test_a_search_tries_the_ends_of_each_argument_before_it_begins(tmp_path, parameters, message):
    experiment = own(tmp_path, more=SEARCH % parameters)
    with pytest.raises(UserError, match=message):
        check_models(experiment, search_space(experiment))


def test_an_argument_that_only_the_search_gives_need_not_have_a_value_besides(tmp_path):
    source = SOURCE.replace("width=8, dropout=0.0", "width, dropout")
    parameters = "model.args.width: {min: 2, max: 4}, model.args.dropout: {value: 0.5}"
    experiment = own(tmp_path, source, more=SEARCH % parameters)
    check_models(experiment, search_space(experiment))
    with pytest.raises(UserError, match="missing a required argument: 'width'"):
        check_model(experiment)


def test_an_installed_module_is_a_target_too(tmp_path, monkeypatch):
    package = tmp_path / "own_package"
    package.mkdir()
    (package / "__init__.py").touch()
    write_network(package, name="nets.py")
    monkeypatch.syspath_prepend(tmp_path)
    check_model(own(tmp_path, target="own_package.nets:Net"))
    write_network(package, SOURCE + "# newer\n", name="nets.py")
    experiment = own(tmp_path, target="own_package.nets:Net")
    write_network(package, name="nets.py")
    with pytest.raises(UserError, match="the module on this node has the SHA-256"):
        check_model(experiment)


def test_a_process_that_reads_the_settings_waits_for_no_torch():
    line = "import sys, inat_ray.config.code, inat_ray.run.code; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", line], check=True)
