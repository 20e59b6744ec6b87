"""The names that people give to settings and metrics in W&B sweeps, and what they are here.

A script of one's own calls its hyperparameters as it likes, so this is a table of habits. Names are
compared without case, underscores and the like: see `plain`. A new habit is one more word here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from inat_ray.config.wandb.values import (
    as_it_is,
    augments,
    choice,
    five,
    frozen,
    number,
    percent,
    side,
    unfrozen,
    weights,
    words,
    yes,
)

JSON = Any


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

FILTERS, KERNELS = "model.filters", "model.kernel_sizes"

SCHEDULE, WARMUP = "recipe.schedule", "recipe.warmup_fraction"

KNOWN = [
    Known(
        "recipe.lr",
        "lr learning_rate learningrate l_rate lr_rate init_lr initial_lr base_lr max_lr lr_init"
        " peak_lr head_lr lr_head classifier_lr lr_classifier fc_lr lr_fc head_learning_rate",
    ),
    Known("recipe.batch_size", "batch_size batch bs batchsize train_batch_size initial_batch_size"),
    Known("recipe.epochs", "epochs epoch num_epochs n_epochs nb_epochs max_epochs no_of_epochs"),
    Known(
        "recipe.optimizer",
        "optimizer optim opt optimiser optimizer_name optimizer_type optimizer_class",
        choice(adam="", adamw="", sgd="nesterov nag sgd_momentum momentum sgdm", muon=""),
        "adam, adamw, sgd (with Nesterov momentum), muon",
    ),
    Known(
        "recipe.weight_decay",
        "weight_decay wd weightdecay l2 l2_reg l2_lambda l2_regularization",
    ),
    Known("recipe.momentum", "momentum mom sgd_momentum"),
    Known(
        SCHEDULE,
        "schedule scheduler lr_scheduler lr_schedule scheduler_type scheduler_name",
        choice(
            constant="none no false fixed off",
            cosine="cos cosine_annealing cosine_annealing_lr cosine_decay cosine_warmup"
            " cosine_with_warmup cosine_annealing_with_warmup",
            one_cycle="one_cycle_lr 1cycle",
            warmup_stable_decay="wsd trapezoidal",
        ),
        "constant, cosine, one_cycle, and warmup_stable_decay, the nearest to one in steps,",
    ),
    Known(WARMUP, "warmup_fraction warmup_ratio warmup_pct pct_start"),
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
        augments,
        YES_NO,
    ),
    Known("recipe.augmentation.mixup", "mixup mixup_alpha"),
    Known("recipe.augmentation.cutmix", "cutmix cutmix_alpha"),
    Known("recipe.augmentation.erase", "random_erasing erase random_erasing_prob erasing reprob"),
    Known("recipe.augmentation.flip", "flip hflip horizontal_flip random_flip", yes, YES_NO),
    Known("recipe.flip_average", "tta flip_average test_time_augmentation", yes, YES_NO),
    Known("data.image_size", "image_size img_size input_size imgsz resize im_size", side),
    Known("seed", "seed random_seed manual_seed random_state"),
    # The CNN.
    Known(
        "model.activation",
        "activation activation_function activation_fn activations act act_fn act_func actfunc"
        " conv_activation nonlinearity non_linearity activation_func activation_type",
        choice(relu="", gelu="", silu="swish swish1", mish=""),
        "relu, gelu, silu (swish), mish",
    ),
    Known(
        KERNELS,
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
        yes,
        YES_NO,
    ),
    Known(
        "model.conv_dropout", "conv_dropout cnn_dropout dropout_conv conv_dropout_rate dropout2d"
    ),
    Known("model.global_pool", "global_pool global_pooling gap", yes, YES_NO),
    Known("model.residual_blocks", "residual_blocks num_residual_blocks"),
    Known(
        "model.initialization",
        "initialization weight_init init weight_initialization kernel_initializer initializer"
        " weights_init init_method",
        choice(he="kaiming he_normal he_uniform kaiming_normal", pytorch="default random"),
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
        weights,
        "true, false, default (imagenet), none (random)",
    ),
    Known(
        "model.freeze",
        "freeze freeze_backbone freeze_base freeze_encoder freeze_strategy freezing_strategy"
        " freezing finetune_strategy fine_tune_strategy finetuning_strategy frozen"
        " feature_extract feature_extraction freeze_option freeze_feature_extractor freeze_features"
        " freeze_pretrained freeze_mode",
        frozen,
        "true, false, none, head_only, freeze_fc, gradual",
    ),
    Known(
        "model.freeze",
        "unfreeze unfreeze_layers unfreeze_backbone unfreeze_last unfreeze_last_n n_unfreeze"
        " num_unfreeze_layers num_unfrozen_layers unfrozen_layers layers_to_unfreeze trainable"
        " num_trainable_layers trainable_layers n_trainable_layers trainable_backbone"
        " backbone_trainable train_backbone fine_tune finetune fine_tuning fine_tune_layers"
        " num_finetune_layers",
        unfrozen,
        "true, false, all, head_only (layers are counted from the input here: the first"
        " model.freeze.k, or the share model.freeze.fraction, are frozen)",
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
        percent,
        "percents",
        also={"model.freeze.strategy": "fraction"},
    ),
]

SETTINGS = {name: known for known in KNOWN for name in words(known.names)}

NUM_FILTERS = words(
    "filters num_filters n_filters no_of_filters number_of_filters nfilters conv_filters"
    " base_filters num_filter cv_num_filters filter_count start_filters initial_filters"
    " first_layer_filters filters_per_layer conv_channels base_channels"
)
"""The number of filters of the first block, or a list of all five."""

ORGANISATION = words(
    "filter_organisation filter_organization filter_org filters_organisation"
    " filters_organization filter_organ filter_multiplier filter_mult filter_strategy"
    " filter_scheme filter_factor filters_factor filter_pattern filters_org"
)
"""How the number of filters changes from block to block."""

FACTORS = dict.fromkeys(words("same constant equal uniform fixed"), 1.0)
FACTORS |= dict.fromkeys(words("double doubling doubled increasing increase"), 2.0)
FACTORS |= dict.fromkeys(words("half halve halving halved decreasing decrease"), 0.5)
"""Each block's filters as a multiple of those of the block before it."""

OF_A_BLOCK = {
    **dict.fromkeys(NUM_FILTERS | words("filter out out_channels channels num_channels"), FILTERS),
    **dict.fromkeys(
        next(words(known.names) for known in KNOWN if known.setting == KERNELS), KERNELS
    ),
}
"""Settings of the blocks by the names of one block's, without its number."""

SHARES = {
    name: both
    for both, names in {
        ("recipe.backbone_lr_factor", "recipe.lr"): "backbone_lr lr_backbone encoder_lr lr_encoder"
        " base_model_lr features_lr backbone_learning_rate body_lr",
        (WARMUP, "recipe.epochs"): "warmup_epochs num_warmup_epochs n_warmup_epochs"
        " warmup lr_warmup_epochs",
    }.items()
    for name in words(names)
}
"""Names of what is a share of another setting here -> (the setting, the other one)."""

NO_WARMUP = words("cosine_annealing cosine_annealing_lr cosine_decay")
"""Schedules that begin at their peak."""

CONSTANT = words("constant none no false fixed off")
"""Those that stay there."""

DENSE = next(words(known.names) for known in KNOWN if known.setting == "model.dense")
"""Names of a dense layer, and of its size."""

NO_NETWORK = words("cnn custom custom_cnn simple_cnn scratch convnet")
"""Names of a network that is no pre-trained one: the CNN of five blocks."""

SECTIONS = words(
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
    for name in words(names)
}
"""Parameters that nothing here depends on -> why."""

ALREADY_SO = {
    name: (words(values), reason)
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
        "sgd has Nesterov momentum": ("nesterov use_nesterov", "true yes 1"),
        "the betas of Adam are 0.9 and 0.999": (
            "beta1 beta2 betas adam_beta1 adam_beta2",
            "09 0999",
        ),
        "a cosine falls to zero": ("eta_min min_lr lr_min", "0 00"),
    }.items()
    for name in words(names)
}
"""Parameters of which one value alone can be had -> (that value's names, why)."""

IN_STEPS = (
    "the learning rate does not fall in steps here; nearest is recipe.schedule"
    " warmup_stable_decay, or cosine"
)
ONE_FALL = "a cosine falls once, to zero at the last epoch; nearest is recipe.schedule cosine"

NO_COUNTERPART = {
    name: reason
    for reason, names in {
        IN_STEPS: "step_size lr_step_size gamma lr_gamma step_lr_gamma scheduler_gamma lr_decay"
        " scheduler_step_size lr_decay_rate decay_rate lr_decay_factor decay_steps decay_epochs"
        " lr_decay_epochs milestones lr_step lr_steps lr_patience plateau_patience",
        ONE_FALL: "t_max t_0 t_mult cosine_t_max num_cycles restarts",
        "the warm-up is recipe.warmup_fraction here, a share of all steps": "warmup_steps"
        " num_warmup_steps n_warmup_steps warmup_iters warmup_iterations",
        "trials are compared with each other here: search.early_stopping": "patience es_patience"
        " early_stopping early_stopping_patience early_stop early_stop_patience",
    }.items()
    for name in words(names)
}
"""Parameters that nothing here is the same as -> why, and what is nearest."""

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
    for name in words(names)
}

ERRORS = words("error_rate val_error error val_error_rate top1_error")
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
