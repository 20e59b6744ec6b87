"""The plots of a model's predictions: scores by class, confusion matrix, calibration."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from inat_ray.page.colors import BLUE, CRIMSON, GRAY, GREEN, SHADES
from inat_ray.training.scores import Bin, ClassScores, wilson_interval

SCORES = {
    "recall": (BLUE, "circle", 9),
    "precision": (CRIMSON, "diamond-open", 9),
    "F1": (GREEN, "line-ns-open", 16),
}
"""Color, symbol, and size: each can be seen through the others where scores are equal."""

MOST_WRITTEN = 20
"""Classes up to which the cells of a confusion matrix have room for their counts."""

MUTED = "rgba(124, 135, 148, 0.16)"
"""The diagonal of a confusion matrix: what is right is no news there."""

FEW_IMAGES = 10
"""A bin of confidences with fewer is drawn hollow and not joined to the others."""

COLOR_BAR = {
    "orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom",
    "len": 0.5, "thickness": 10, "tickformat": ".0%", "nticks": 4,
    "outlinewidth": 0, "title": {"text": "share of the class", "side": "top"},
}  # fmt: skip
"""Above the plot, where it takes no width of a phone's."""

MARGIN = {"l": 60, "r": 16, "t": 40, "b": 56}

Interval = tuple[float, float]


def scores_plot(classes: Sequence[ClassScores]) -> go.Figure:
    """Draws recall with its 95 % interval, precision and F1, a line a class, the first on top.

    The axis goes no lower than the values do.
    """
    names = [scores.name for scores in classes]
    figure = go.Figure()
    for label, (color, symbol, size) in SCORES.items():
        line = {"width": 2, "color": color}
        figure.add_scatter(
            x=[getattr(scores, label.lower()) for scores in classes],
            y=names,
            name=label,
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": size, "line": line},
            customdata=[scores.images for scores in classes],
            hovertemplate=f"%{{y}}: {label} %{{x:.1%}}<br>%{{customdata}} images<extra></extra>",
        )
    recalls = [scores.recall for scores in classes]
    ends = [_recall_interval(scores) for scores in classes]
    figure.data[0].error_x = _error_bars(recalls, ends)
    shown = [getattr(scores, label.lower()) for scores in classes for label in SCORES]
    lowest = min((v for v in (*shown, *(low for low, _ in ends)) if v is not None), default=0.0)
    lowest = math.floor(20 * lowest) / 20
    figure.update_xaxes(title="score", tickformat=".0%", range=[lowest - 0.01, 1.01])
    figure.update_yaxes(type="category", dtick=1)
    figure.update_yaxes(range=[len(names) - 0.4, -0.6])  # the first on top, without a gap
    return figure.update_layout(margin=MARGIN)


def _recall_interval(scores: ClassScores) -> Interval:
    if scores.recall is None:
        return 1.0, 1.0
    return wilson_interval(round(scores.recall * scores.images), scores.images)


def _error_bars(values: Sequence[float | None], ends: Sequence[Interval]) -> dict[str, object]:
    """Returns bars from each value to its ends: one look for every interval."""
    pairs = list(zip(values, ends, strict=True))
    return {
        "array": [high - (v or 0.0) for v, (_, high) in pairs],
        "arrayminus": [(v or 0.0) - low for v, (low, _) in pairs],
        "symmetric": False,
        "thickness": 1.5,
        "width": 0,
    }


def confusion_plot(
    confusion: NDArray[np.int64], classes: Sequence[str], *, shown: Sequence[int] | None = None
) -> go.Figure:
    """Draws a confusion matrix (C, C): shades are shares of the class's images, counts are text.

    The shades are for confusions; what is right is gray, and a cell without an image stays empty.
    Classes that are confused stand together. `shown` are the labels that get a row and a column;
    all if not given.
    """
    labels = list(range(len(classes)) if shown is None else shown)
    labels = [labels[place] for place in confused_together(confusion[np.ix_(labels, labels)])]
    names = [classes[label] for label in labels]
    totals = confusion.sum(axis=1)[labels]
    counts = confusion[np.ix_(labels, labels)]
    shares = np.where(counts > 0, counts / np.maximum(totals, 1)[:, None], np.nan)
    wrong = np.where(np.eye(len(labels), dtype=bool), np.nan, shares)
    worst = float(np.nanmax(wrong)) if np.isfinite(wrong).any() else 1.0
    hover = (
        "%{customdata} images of %{y} classified as %{x}<br>%{z:.1%} of the images of %{y}"
        "<extra></extra>"
    )
    common = {"x": names, "y": names, "customdata": counts.tolist(), "hovertemplate": hover}
    common |= {"xgap": 2, "ygap": 2, "hoverongaps": False, "zmin": 0}
    right = np.where(np.eye(len(labels), dtype=bool), shares, np.nan)
    figure = go.Figure(
        [
            go.Heatmap(
                z=_gaps(right), zmax=1, colorscale=[[0, MUTED], [1, MUTED]], showscale=False,
                **common,
            ),
            go.Heatmap(z=_gaps(wrong), zmax=worst, colorscale=SHADES, colorbar=COLOR_BAR, **common),
        ]
    )  # fmt: skip
    if len(labels) <= MOST_WRITTEN:
        rows, columns = np.nonzero(counts)
        figure.add_scatter(
            x=[names[column] for column in columns],
            y=[names[row] for row in rows],
            text=counts[rows, columns].tolist(),
            mode="text",
            hoverinfo="skip",
        )
    axis = {"type": "category", "showgrid": False, "zeroline": False, "constrain": "domain"}
    axis |= {"categoryarray": names}
    figure.update_xaxes(title={"text": "prediction", "standoff": 12}, **axis)
    figure.update_yaxes(
        title={"text": "truth", "standoff": 12}, autorange="reversed", scaleanchor="x", **axis
    )
    return figure.update_layout(margin=MARGIN | {"t": 64}, showlegend=False)


def confused_together(confusion: NDArray[np.int64]) -> list[int]:
    """Returns the classes of a confusion matrix in an order in which confused ones are neighbors.

    They are merged by the mean share that two groups confuse, and the tree is turned so that
    neighbors are as close as it allows (Bar-Joseph et al., 2001).
    """
    if len(confusion) < 3:
        return list(range(len(confusion)))
    shares = confusion / np.maximum(confusion.sum(axis=1), 1)[:, None]
    distance = 1 - (shares + shares.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    order: list[int] = leaves_list(tree).tolist()
    return order


def _gaps(values: NDArray[np.floating]) -> list[list[float | None]]:
    """Returns the values with None for NaN, which JSON does not have."""
    return [[None if math.isnan(v) else v for v in row] for row in values.tolist()]


def reliability_plot(bins: Sequence[Bin]) -> go.Figure:
    """Draws accuracy against confidence, with 95 % intervals, above the number of images by bin."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.74, 0.26], vertical_spacing=0.05
    )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        name="perfect calibration",
        line={"dash": "dash", "color": GRAY},
        hoverinfo="skip",
    )
    many = [each for each in bins if each.images >= FEW_IMAGES]
    few = [each for each in bins if 0 < each.images < FEW_IMAGES]
    if many:
        figure.add_trace(_accuracies(many, name="the model", mode="lines+markers"))
    if few:
        figure.add_trace(_accuracies(few, name=f"fewer than {FEW_IMAGES} images", mode="markers"))
        figure.data[-1].marker.symbol = "circle-open"
    figure.add_bar(
        x=[(each.low + each.high) / 2 for each in bins],
        y=[each.images for each in bins],
        width=[0.94 * (each.high - each.low) for each in bins],
        marker={"color": GRAY},
        showlegend=False,
        customdata=[f"{each.low:.1%} to {each.high:.1%}" for each in bins],
        hovertemplate="%{y} images with a confidence of %{customdata}<extra></extra>",
        row=2,
        col=1,
    )
    lowest = math.floor(20 * min((b.low for b in bins if b.images), default=0.0)) / 20
    figure.update_xaxes(range=[lowest - 0.01, 1.01], tickformat=".0%")
    figure.update_xaxes(title="confidence: probability of the prediction", row=2, col=1)
    figure.update_yaxes(title="accuracy", tickformat=".0%", range=[0, 1.02], row=1, col=1)
    figure.update_yaxes(title="images", nticks=4, row=2, col=1)
    return figure.update_layout(margin=MARGIN, bargap=0)


def _accuracies(bins: Sequence[Bin], *, name: str, mode: str) -> go.Scatter:
    """Draws the accuracy of bins that hold images, with its interval."""
    shares = [each.accuracy or 0.0 for each in bins]
    ends = [
        wilson_interval(round(share * each.images), each.images)
        for share, each in zip(shares, bins, strict=True)
    ]
    return go.Scatter(
        x=[each.confidence for each in bins],
        y=shares,
        mode=mode,
        name=name,
        marker={"color": BLUE, "size": 8},
        line={"color": BLUE},
        error_y=_error_bars(shares, ends),
        customdata=[each.images for each in bins],
        hovertemplate="says %{x:.1%}, is right in %{y:.1%}<br>%{customdata} images<extra></extra>",
    )
