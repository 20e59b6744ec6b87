"""The names that people give to settings and metrics in W&B sweeps, and what they are here.

A script of one's own calls its hyperparameters as it likes, so this is a table of habits. Names are
compared without case, underscores and the like: see `plain`. A new habit is one more word here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from inat_ray.config.distributions import MOST_NUMBER

JSON = Any


def plain(name: object) -> str:
    """Returns a name as the tables have it: 'Learning-Rate' and learning_rate are one."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _words(text: str) -> set[str]:
    return {plain(word) for word in text.split()}


def number(value: JSON) -> JSON:
    """Returns a number, also one in quotes; null stays. Raises ValueError where it is none."""
    if isinstance(value, str):
        try:
            value = float(value) if re.search(r"[.eEn]", value) else int(value)
        except ValueError:
            raise ValueError(f"{value!r} is no number") from None
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise ValueError(f"{value!r} is no number")
    if value is not None and not abs(value) < MOST_NUMBER:
        raise ValueError(f"{value!r} is no number to reckon with")
    return value


def as_it_is(value: JSON) -> JSON:
    """Returns a value of a setting that has its name from us."""
    return value


def _yes(value: JSON) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "y": True, "t": True}
    words |= {"false": False, "no": False, "off": False, "0": False, "n": False, "f": False}
    return words[plain(value)]


def _augments(value: JSON) -> bool:
    return False if plain(value) in ("none", "") else _yes(value)


def _choice(**others: str) -> Callable[[JSON], str]:
    """Reads one of the names here, or one of `others`: name here -> other names for it."""
    known = {plain(word): name for name, words in others.items() for word in [name, *words.split()]}
    return lambda value: known[plain(value)]


def five(value: JSON) -> list[int]:
    """Returns a number for each of the CNN's five blocks, from one, or from a list of five."""
    if isinstance(value, str) and re.fullmatch(r"[\[(]?[\d, ]+[\])]?", value):
        value = [int(each) for each in re.findall(r"\d+", value)]
        value = value[0] if len(value) == 1 else value
    numbers = [number(each) for each in value] if isinstance(value, list) else [number(value)] * 5
    if len(numbers) != 5 or not all(float(each).is_integer() for each in numbers):
        raise ValueError
    return [int(each) for each in numbers]


def side(value: JSON) -> JSON:
    """Returns the side of a square, from one number, or from a list of equal ones."""
    sides = value if isinstance(value, list) else [value]
    if len({*sides}) != 1:
        raise ValueError
    return number(sides[0])


def _weights(value: JSON) -> str:
    if plain(value) in ("default", "imagenet"):
        return "default"
    return "default" if plain(value) not in ("none", "random") and _yes(value) else "none"


def _percent(value: JSON) -> float:
    return float(number(value)) / 100


def _freeze(value: JSON) -> dict[str, JSON]:
    """Reads whether, or in which way, the pre-trained part is frozen."""
    ways = {"headonly": "head_only", "freezefc": "freeze_fc", "gradualunfreezing": "gradual"}
    all_but_head = "all backbone freeze_all freeze_backbone feature_extraction feature_extractor"
    nothing = "none full nothing finetune finetune_all full_finetune unfreeze_all"
    ways |= dict.fromkeys(_words(f"{all_but_head} true yes"), "head_only")
    ways |= dict.fromkeys(_words(f"{nothing} false no"), "none")
    way = ways[plain(value)]
    return {"strategy": way} | ({"every": 1} if way == "gradual" else {})


@dataclass(frozen=True)
class Known:
    """A setting under the names that people have for it."""

    setting: str
    names: str
    read: Callable[[JSON], JSON] = number
    """From a value as people write it to the setting's own; raises ValueError, KeyError or
    TypeError at one that it does not have."""
    allowed: str = "numbers"
    """The values that `read` takes, in words."""
    also: Mapping[str, JSON] = field(default_factory=dict)
    """What stands beside it in an experiment, so that it has a meaning."""
    note: str = ""

    @property
    def has_ranges(self) -> bool:
        """Whether a range of numbers is one of the setting, too."""
        return self.read in (number, side, as_it_is)


YES_NO = "true or false"

BACKBONE = "model.backbone"

FILTERS = "model.filters"

KNOWN = [
    Known(
        "recipe.lr",
        "lr learning_rate learningrate l_rate lr_rate init_lr initial_lr base_lr max_lr lr_init"
        " peak_lr head_lr",
    ),
    Known("recipe.batch_size", "batch_size batch bs batchsize train_batch_size initial_batch_size"),
    Known("recipe.epochs", "epochs epoch num_epochs n_epochs nb_epochs max_epochs no_of_epochs"),
    Known(
        "recipe.optimizer",
        "optimizer optim opt optimiser optimizer_name optimizer_type optimizer_class",
        _choice(adam="", adamw="", sgd="nesterov nag sgd_momentum momentum sgdm", muon=""),
        "adam, adamw, sgd (with Nesterov momentum), muon",
    ),
    Known(
        "recipe.weight_decay",
        "weight_decay wd weightdecay l2 l2_reg l2_lambda l2_regularization",
    ),
    Known("recipe.momentum", "momentum mom sgd_momentum"),
    Known(
        "recipe.schedule",
        "schedule scheduler lr_scheduler lr_schedule scheduler_type scheduler_name",
        _choice(
            constant="none no false fixed off",
            cosine="cos cosine_annealing cosine_annealing_lr cosine_decay cosine_warmup"
            " cosine_with_warmup",
            one_cycle="one_cycle_lr 1cycle",
            warmup_stable_decay="wsd trapezoidal",
        ),
        "constant, cosine, one_cycle, warmup_stable_decay",
    ),
    Known("recipe.warmup_fraction", "warmup_fraction warmup_ratio warmup_pct pct_start"),
    Known("recipe.label_smoothing", "label_smoothing smoothing label_smooth"),
    Known(
        "recipe.gradient_clip",
        "gradient_clip grad_clip max_grad_norm clip clip_norm gradient_clip_val clip_grad"
        " clip_grad_norm gradient_clipping",
    ),
    Known("recipe.ema_decay", "ema_decay ema model_ema_decay"),
    Known("recipe.layer_decay", "layer_decay llrd layerwise_lr_decay lr_decay_per_layer"),
    Known(
        "recipe.backbone_lr_factor", "backbone_lr_factor backbone_lr_mult backbone_lr_multiplier"
    ),
    Known(
        "recipe.augment",
        "augment augmentation data_aug data_augmentation dataaugmentation aug augment_data use_aug"
        " use_augmentation use_data_augmentation apply_augmentation augmentation_enabled",
        _augments,
        YES_NO,
    ),
    Known("recipe.augmentation.mixup", "mixup mixup_alpha"),
    Known("recipe.augmentation.cutmix", "cutmix cutmix_alpha"),
    Known("recipe.augmentation.erase", "random_erasing erase random_erasing_prob erasing reprob"),
    Known("recipe.augmentation.flip", "flip hflip horizontal_flip random_flip", _yes, YES_NO),
    Known("recipe.flip_average", "tta flip_average test_time_augmentation", _yes, YES_NO),
    Known("data.image_size", "image_size img_size input_size imgsz resize im_size", side),
    Known("seed", "seed random_seed manual_seed random_state"),
    # The CNN.
    Known(
        "model.activation",
        "activation activation_function activation_fn activations act act_fn act_func actfunc"
        " conv_activation nonlinearity non_linearity activation_func activation_type",
        _choice(relu="", gelu="", silu="swish swish1", mish=""),
        "relu, gelu, silu (swish), mish",
    ),
    Known(
        "model.kernel_sizes",
        "kernel_size kernel_sizes filter_size filter_sizes kernel kernels conv_kernel_size"
        " size_of_filters ksize",
        five,
        "an odd size, or a list of five",
    ),
    Known(
        "model.dense",
        "dense dense_size dense_units dense_neurons dense_layer dense_layer_size denselayer_size"
        " dense_nodes fc fc_size fc_units fc_dim fc_neurons fc_nodes fc_layer_size fc_hidden"
        " hidden_size hidden_units hidden_dim hidden_layer_size hidden_neurons n_neurons"
        " num_neurons num_dense_neurons n_dense_neurons neurons neurons_dense size_denselayer"
        " ffn_size no_of_neurons dense_output linear_size",
    ),
    Known(
        "model.batch_norm",
        "batch_norm batchnorm batch_normalization batch_normalisation bn use_bn use_batchnorm"
        " use_batch_norm is_batch_norm apply_batchnorm",
        _yes,
        YES_NO,
    ),
    Known(
        "model.conv_dropout", "conv_dropout cnn_dropout dropout_conv conv_dropout_rate dropout2d"
    ),
    Known("model.global_pool", "global_pool global_pooling gap", _yes, YES_NO),
    Known("model.residual_blocks", "residual_blocks num_residual_blocks"),
    Known(
        "model.initialization",
        "initialization weight_init init weight_initialization kernel_initializer initializer"
        " weights_init init_method",
        _choice(he="kaiming he_normal he_uniform kaiming_normal", pytorch="default random"),
        "he (kaiming), pytorch (default)",
    ),
    # Either family.
    Known(
        "model.dropout",
        "dropout dropout_rate drop drop_rate dropout_prob dropout_p p_dropout prob_dropout"
        " dropout_probability p_drop droprate",
    ),
    # Pre-trained networks.
    Known(
        BACKBONE,
        "backbone model architecture arch model_name model_type base_model pretrained_model"
        " network net encoder model_architecture backbone_name cnn_model transfer_model",
        allowed="networks of torchvision, or else all of timm,",
    ),
    Known(
        "model.weights",
        "pretrained use_pretrained weights pretrained_weights imagenet",
        _weights,
        "true, false, default (imagenet), none (random)",
    ),
    Known(
        "model.freeze",
        "freeze freeze_backbone freeze_base freeze_encoder freeze_strategy freezing_strategy"
        " freezing finetune_strategy fine_tune_strategy finetuning_strategy frozen fine_tuning"
        " feature_extract feature_extraction freeze_option freeze_feature_extractor freeze_features"
        " freeze_pretrained freeze_mode",
        _freeze,
        "true, false, none, head_only, freeze_fc, gradual",
    ),
    Known(
        "model.freeze.k",
        "freeze_layers num_frozen_layers frozen_layers freeze_k n_freeze num_freeze_layers"
        " num_layers_to_freeze layers_to_freeze n_frozen_layers freeze_till freeze_until"
        " freeze_up_to num_layers_frozen freeze_before no_of_freeze_layers",
        also={"model.freeze.strategy": "first_k"},
        note="layers are counted as inat_ray does: convolutions, dense layers, attention",
    ),
    Known(
        "model.freeze.fraction",
        "freeze_fraction freeze_ratio frozen_fraction fraction_frozen freeze_frac",
        also={"model.freeze.strategy": "fraction"},
    ),
    Known(
        "model.freeze.fraction",
        "freeze_percent freeze_percentage freeze_pct pct_to_freeze percent_frozen",
        _percent,
        "percents",
        also={"model.freeze.strategy": "fraction"},
    ),
]

SETTINGS = {name: known for known in KNOWN for name in _words(known.names)}

NUM_FILTERS = _words(
    "filters num_filters n_filters no_of_filters number_of_filters nfilters conv_filters"
    " base_filters num_filter cv_num_filters filter_count start_filters initial_filters"
    " first_layer_filters filters_per_layer conv_channels base_channels"
)
"""The number of filters of the first block, or a list of all five."""

ORGANISATION = _words(
    "filter_organisation filter_organization filter_org filters_organisation"
    " filters_organization filter_organ filter_multiplier filter_mult filter_strategy"
    " filter_scheme filter_factor filters_factor filter_pattern filters_org"
)
"""How the number of filters changes from block to block."""

FACTORS = dict.fromkeys(_words("same constant equal uniform fixed"), 1.0)
FACTORS |= dict.fromkeys(_words("double doubling doubled increasing increase"), 2.0)
FACTORS |= dict.fromkeys(_words("half halve halving halved decreasing decrease"), 0.5)
"""Each block's filters as a multiple of those of the block before it."""

NO_NETWORK = _words("cnn custom custom_cnn simple_cnn scratch convnet")
"""Names of a network that is no pre-trained one: the CNN of five blocks."""

SECTIONS = _words(
    "model net network cnn conv architecture optimizer optim optimiser training train trainer"
    " data dataset datamodule dataloader hyperparameters hyperparams hparams params config"
    " args scheduler lr_scheduler augmentation regularization backbone classifier head fit"
    " finetune finetuning"
)
"""Groups in which people nest parameters, and which do not change what a name means."""

OF_THE_DATA = "the photographs of --data tell it"
OF_THE_SCRIPT = "is about the script, not about what is trained"

NOT_NEEDED = {
    name: reason
    for reason, names in {
        OF_THE_DATA: "data_dir data_path dataset dataset_path dataset_name train_dir val_dir"
        " test_dir train_data_path train_path val_path test_path root data_root num_classes"
        " n_classes classes output_size output_neuron output_neurons in_channels input_channels"
        " channels_in dataset_root",
        OF_THE_SCRIPT: "num_workers workers n_workers pin_memory device gpu gpus num_gpus cuda"
        " accelerator devices verbose log_interval log_every save_dir output_dir save_model"
        " checkpoint_dir wandb use_wandb wandb_project wandb_entity wandb_name project entity"
        " run_name experiment_name exp_name tags notes debug progress_bar",
    }.items()
    for name in _words(names)
}
"""Parameters that nothing here depends on -> why."""

ALREADY_SO = {
    name: (_words(values), reason)
    for reason, (names, values) in {
        "the loss is cross-entropy": (
            "loss criterion loss_fn loss_function objective",
            "crossentropy crossentropyloss crossentropy_loss ce categorical_crossentropy"
            " sparse_categorical_crossentropy categorical_cross_entropy cross_entropy_loss",
        ),
        "the CNN has five convolution blocks": (
            "num_layers n_layers num_conv_layers n_conv_layers conv_layers num_conv_blocks"
            " num_blocks no_of_layers num_convolutions",
            "5",
        ),
        "the CNN has one dense layer before the output layer": (
            "num_dense_layers n_dense_layers num_fc_layers n_fc_layers dense_layers fc_layers",
            "1",
        ),
        "each block of the CNN ends with max-pooling over 2 x 2 pixels": (
            "pool pooling pool_type pooling_type pool_size",
            "max maxpool maxpooling 2 22",
        ),
        "convolutions have stride 1 and keep the size": ("stride padding", "1 same"),
    }.items()
    for name in _words(names)
}
"""Parameters of which one value alone can be had -> (that value's names, why)."""

METRICS_THERE = {
    name: metric
    for metric, names in {
        "val_accuracy": "val_accuracy val_acc validation_accuracy validation_acc valid_accuracy"
        " valid_acc accuracy acc val_accuracy_epoch val_acc_epoch eval_accuracy eval_acc val_top1"
        " val_acc1 best_val_acc best_val_accuracy val_accuracy_top1 dev_accuracy dev_acc"
        " metrics_accuracy_top1 top1 val_categorical_accuracy val_sparse_categorical_accuracy",
        "val_loss": "val_loss validation_loss valid_loss loss eval_loss dev_loss val_loss_epoch"
        " best_val_loss val_cross_entropy",
        "val_macro_f1": "val_macro_f1 val_f1 val_f1_macro f1 val_f1_score val_f1score f1_score"
        " macro_f1 validation_f1 valid_f1 f1_macro val_f1_score_avg metrics_val_f1",
        "val_balanced_accuracy": "val_balanced_accuracy balanced_accuracy val_bal_acc bal_acc"
        " val_balanced_acc val_mean_recall",
        "val_ece": "val_ece ece calibration_error val_calibration_error",
    }.items()
    for name in _words(names)
}

ERRORS = _words("error_rate val_error error val_error_rate top1_error")
"""Metrics that are 1 - accuracy."""

DROPPED_KEYS = {
    "program": "not run: inat_ray trains its own networks, or one of yours as `model.kind: module`",
    "description": "a text",
    "kind": "of the file's format",
    "apiVersion": "of the file's format",
    "controller": "of W&B's own machinery",
    "job": "of W&B Launch",
    "image_uri": "of W&B Launch",
    "settings": "of W&B's own machinery",
    "preemptible": "of W&B's own machinery",
    "launch": "of W&B Launch",
}
"""Keys at the top of a sweep that change nothing here -> why."""
