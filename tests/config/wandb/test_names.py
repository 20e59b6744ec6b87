from collections import Counter

from inat_ray.config.model import MODEL_KINDS
from inat_ray.config.wandb.names import (
    ALREADY_SO,
    KNOWN,
    NO_COUNTERPART,
    NOT_NEEDED,
    NUM_FILTERS,
    ORGANISATION,
    SHARES,
)
from inat_ray.config.wandb.parameters import setting_at
from inat_ray.config.wandb.values import plain


def test_no_name_means_two_things():
    names = [{plain(name) for name in known.names.split()} for known in KNOWN]
    tables = [*names, NUM_FILTERS, ORGANISATION, {*NOT_NEEDED}, {*ALREADY_SO}]
    tables += [{*NO_COUNTERPART}, {*SHARES}]
    twice = {name: n for name, n in Counter(each for t in tables for each in t).items() if n > 1}
    assert twice == {}


def test_every_name_stands_for_a_setting_that_there_is():
    for known in KNOWN:
        there = [kind for kind in MODEL_KINDS if setting_at(known.setting, kind=kind)]
        assert there, known.setting
        assert all(setting_at(other, kind=there[-1]) for other in known.also)
