import pytest

from inat_ray.config.wandb.blocks import block_of, numbered, of_each_block, of_first_and_shape
from inat_ray.config.wandb.choices import NotHadError
from inat_ray.config.wandb.values import plain


@pytest.mark.parametrize(
    ("name", "setting", "block"),
    [
        ("conv1_filters", "model.filters", 1),
        ("filters_0", "model.filters", 0),
        ("num_filters_layer_5", "model.filters", 5),
        ("n_filters_l3", "model.filters", 3),
        ("conv2d_2_out_channels", "model.filters", 2),
        ("block4.channels", "model.filters", 4),
        ("kernel_size_1", "model.kernel_sizes", 1),
        ("conv3_kernel", "model.kernel_sizes", 3),
    ],
)
def test_a_number_in_a_name_is_that_of_a_block(name, setting, block):
    assert block_of(plain(name)) == (setting, block)


@pytest.mark.parametrize("name", ["conv1", "filters", "l2", "dropout_1", "fc1"])
def test_another_name_with_a_number_is_of_no_block(name):
    assert block_of(plain(name)) is None


def test_a_numbered_dense_layer_has_the_name_of_one():
    assert [numbered(name) for name in ("fc1", "dense2units", "dense")] == [
        *(("fc", 1), ("denseunits", 2), None),
    ]


def test_a_parameter_for_each_block_is_one_of_lists_with_all_combinations():
    specs = {block: {"value": 8} for block in range(1, 6)}
    assert of_each_block("model.filters", specs) == {"value": [8] * 5}
    specs[5] = {"values": ["16", 32], "probabilities": [0.25, 0.75]}
    assert of_each_block("model.filters", specs) == {
        "values": [[8, 8, 8, 8, 16], [8, 8, 8, 8, 32]],
        "probabilities": [0.25, 0.75],
    }


@pytest.mark.parametrize(
    ("blocks", "spec", "reason"),
    [
        ((1, 2, 3), {"value": 8}, "five blocks, and the filters are those of 1, 2, 3"),
        (range(1, 6), {"values": [8, 16, 32]}, "243 combinations are too many"),
        (range(5), {"values": [8.5]}, "8.5"),
    ],
)
def test_what_is_no_list_of_five_is_told(blocks, spec, reason):
    with pytest.raises(ValueError, match=reason):
        of_each_block("model.filters", dict.fromkeys(blocks, spec))


def test_the_first_block_and_a_factor_are_lists_too():
    shape = {"values": ["half", 1]}
    assert of_first_and_shape({"value": 8}, shape)["values"] == [[8, 4, 2, 1, 1], [8] * 5]
    with pytest.raises(NotHadError):
        of_first_and_shape({"value": 8}, {"value": "zigzag"})
