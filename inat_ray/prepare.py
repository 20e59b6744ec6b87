"""python -m inat_ray.prepare: photographs to a pack, before any training needs it."""

from contextlib import nullcontext

from inat_ray import options
from inat_ray.config.load import load_experiment
from inat_ray.run.claim import begin_run, check_free, claimed

NEAR = "pairs of images in two parts of the split, or in two classes, are nearly the same"

MOST_COMPARED = 50_000
"""Images of which each is compared with each; with more it is left to `check`."""


def main(
    experiment: options.ExperimentFile = None,
    data: options.Data = None,
    settings: options.Set = None,
    seed: options.Seed = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Decode, check, resize and split the images; the pack is kept in data.cache.

    With --out, the run folder holds the resolved experiment, the split and result.json.

    Example: inat-ray prepare --data ~/photos --set data.image_size=128
    """
    options.set_verbosity(verbose=verbose)
    options.say_reading("prepare", experiment or data or "the default settings")
    given = options.given(data=data, seed=seed)
    config = load_experiment(experiment, settings=settings or (), options=given)
    if out is not None:
        check_free(out, overwrite=overwrite)
    # Imported only now: they take seconds, and a mistake above is answered at once.
    with options.loading("torch"):
        from inat_ray.config.variants import with_room_for_all
        from inat_ray.data.dataset import open_dataset
        from inat_ray.data.near_duplicates import near_duplicates
        from inat_ray.run.result import write_result
        from inat_ray.run.result_content import data_result
        from inat_ray.run.split import keep_split
        from inat_ray.terminal.announcements import announce, note_some

    config = with_room_for_all(config, where=str(experiment))
    claim = nullcontext() if out is None else claimed(out, config, overwrite=overwrite)
    with claim as run:
        dataset = open_dataset(config.data, progress=True)
        if run is not None:
            begin_run(run, config)
            keep_split(run, dataset)
        console = options.console()
        announce(console, data=dataset, run=run)
        options.say("pack", dataset.pack.path)
        names, pairs = dataset.pack.names, None
        if len(names) <= MOST_COMPARED:
            pairs = [[names[pair.first], names[pair.second]] for pair in near_duplicates(dataset)]
            note_some(console, [f"{a} and {b}" for a, b in pairs], what=NEAR)
        result = data_result(dataset) | {"near_duplicates": pairs}
        if run is not None:
            write_result(result, run.result)
    if as_json:
        options.print_json(result)


if __name__ == "__main__":
    options.run(main)
