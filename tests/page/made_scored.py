"""Trials with a result, made up from points and scores."""

import numpy as np

from inat_ray.page.scored import Scored


def scored(points, scores, *, logarithmic=()) -> Scored:
    names = dict.fromkeys(name for point in points for name in point)
    return Scored(
        names={name: name for name in names},
        points=points,
        scores=scores,
        ranks=np.unique(scores, return_inverse=True)[1].tolist(),
        trial_ids=[f"trial_{i:04d}" for i in range(len(points))],
        logarithmic=frozenset(logarithmic),
        metric="val_accuracy",
        states=["stopped" if i % 2 else "finished" for i in range(len(points))],
        winner=f"trial_{int(np.argmax(scores)):04d}",
    )
