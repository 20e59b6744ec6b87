import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import dump_experiment, load_experiment
from inat_ray.config.space import search_space
from inat_ray.config.trial import with_parameters
from inat_ray.config.variants import (
    MOST_VARIANTS,
    OF_THE_SIZE,
    image_sizes,
    variants,
    with_room_for_all,
)


def experiment_with(parameters: dict, *, method: str = "random", **others) -> Experiment:
    tree = {"search": {"method": method, "parameters": parameters}, **others}
    return with_room_for_all(Experiment.model_validate(tree), where="a.yaml")


PRETRAINED = {"kind": "pretrained"}
KINDS = {"model.kind": {"values": ["cnn", "pretrained"]}}
OF_A_CNN = {"model.kind": "cnn"}


@pytest.mark.parametrize(
    ("parameters", "others", "sizes", "pack"),
    [
        ({"recipe.lr": {"values": [0.1]}}, {}, [64], 80),
        ({"data.image_size": {"values": [96, 32]}}, {}, [32, 96], 120),
        ({"data.image_size": {"min": 32, "max": 100}}, {}, [32, 100], 125),
        ({"data.image_size": {"values": [48]}}, {}, [48], 60),
        ({"data.image_size": {"values": [96, 32]}}, {"data": {"pack_size": 99}}, [32, 96], 99),
        (KINDS, {}, [64, 224], 280),
        (KINDS, {"data": {"image_size": 32}}, [32], 40),
        (KINDS | {"data.image_size": {"value": 300, "when": OF_A_CNN}}, {}, [224, 300], 375),
        ({"model.weights": {"values": ["none", "default"]}}, {"model": PRETRAINED}, [64, 224], 280),
        (
            {"model.backbone": {"values": ["resnet18", "inception_v3"]}},
            {"model": PRETRAINED},
            [224, 299],
            374,
        ),
        ({"model": {"values": [{}, {"kind": "resnet"}]}}, {}, [64, 224], 280),
    ],
)
def test_all_trials_share_a_pack_of_the_largest_size(parameters, others, sizes, pack):
    experiment = experiment_with(parameters, **others)
    space = search_space(experiment)
    assert image_sizes(experiment, space) == sizes
    tried = [with_parameters(experiment, point) for point in variants(space, OF_THE_SIZE)]
    assert {each.data.pack_side for each in tried} == {pack}
    assert sorted({each.image_size for each in tried}) == sizes


def test_where_all_backbones_want_one_size_the_experiment_has_it():
    backbones = {"model.backbone": {"values": ["resnet18", "resnet50"]}}
    data = experiment_with(backbones, model=PRETRAINED).data
    assert (data.image_size, data.pack_size) == (224, None)


def test_what_was_made_room_for_is_written_and_read_back(tmp_path):
    experiment = experiment_with(KINDS)
    (tmp_path / "e.yaml").write_text(dump_experiment(experiment))
    read = load_experiment(tmp_path / "e.yaml")
    assert read == with_room_for_all(read, where="e.yaml") == experiment
    winner = with_parameters(experiment, {"model.kind": "pretrained"})
    again = Experiment.model_validate_json(winner.model_dump_json())
    assert again == winner
    assert (again.image_size, again.data.pack_side) == (224, 280)


def test_combinations_respect_conditions_and_have_the_ends_of_ranges():
    parameters = KINDS | {
        "model.dense": {"values": [1, 2], "when": OF_A_CNN},
        "data.image_size": {"min": 32, "max": 64, "when": OF_A_CNN},
    }
    space = search_space(experiment_with(parameters))
    assert variants(space, ["data.image_size"]) == [
        {"model.kind": "pretrained"},
        {"model.kind": "cnn", "data.image_size": 32},
        {"model.kind": "cnn", "data.image_size": 64},
    ]


def test_an_ablation_has_the_variants_of_its_grid_alone():
    sizes = {"data.image_size": {"values": [32, 96]}}
    space = search_space(experiment_with(KINDS | sizes, method="ablation"))
    found = {(p["model.kind"], p["data.image_size"]) for p in variants(space, OF_THE_SIZE)}
    assert found == {("cnn", None), ("pretrained", None), ("cnn", 32), ("cnn", 96)}


def test_of_very_many_combinations_every_value_is_there():
    numbers = {f"model.args.a{n}": {"values": list(range(10))} for n in range(6)}
    model = {"kind": "module", "target": "net.py:Net"}
    found = variants(search_space(experiment_with(numbers, model=model)), numbers)
    assert len(found) <= MOST_VARIANTS
    assert all({point[name] for point in found} == set(range(10)) for name in numbers)
