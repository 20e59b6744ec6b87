"""The plots of a model's predictions: scores by class, confusion matrix, calibration."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from inat_ray.page.colors import BLUE, CRIMSON, GRAY, GREEN, SHADES
from inat_ray.training.scores import Bin, ClassScores, wilson_interval

SCORES = {
    "recall": (BLUE, "circle-open", 13),
    "precision": (CRIMSON, "diamond", 7),
    "F1": (GREEN, "line-ns-open", 16),
}
"""Color, symbol, and size: each can be seen through the others where scores are equal."""

MOST_WRITTEN = 20
"""Classes up to which the cells of a confusion matrix have room for their counts."""

COLOR_BAR = {
    "orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom",
    "len": 0.5, "thickness": 10, "tickformat": ".0%", "tickvals": [0, 0.3, 1],
    "title": {"text": "share of the class", "side": "top"},
}  # fmt: skip
"""Above the plot, where it takes no width of a phone's."""

MARGIN = {"l": 60, "r": 16, "t": 40, "b": 56}


def scores_plot(classes: Sequence[ClassScores]) -> go.Figure:
    """Draws recall, precision and F1 as dots, a line a class, the first on top."""
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
    figure.update_xaxes(title="score", tickformat=".0%", range=[-0.02, 1.02])
    figure.update_yaxes(type="category", dtick=1)
    figure.update_yaxes(range=[len(names) - 0.4, -0.6])  # the first on top, without a gap
    return figure.update_layout(margin=MARGIN)


def confusion_plot(
    confusion: NDArray[np.int64], classes: Sequence[str], *, shown: Sequence[int] | None = None
) -> go.Figure:
    """Draws a confusion matrix (C, C): colors are shares of the class's images, counts are text.

    Cells without an image stay empty, so that the others stand out. `shown` are the labels that
    get a row and a column; all if not given.
    """
    labels = list(range(len(classes)) if shown is None else shown)
    names = [classes[label] for label in labels]
    totals = confusion.sum(axis=1)[labels].tolist()
    counts = confusion[np.ix_(labels, labels)].tolist()
    written = len(labels) <= MOST_WRITTEN
    figure = go.Figure(
        go.Heatmap(
            x=names,
            y=names,
            z=[
                [n / of if n else None for n in row] for row, of in zip(counts, totals, strict=True)
            ],
            text=[[n or "" for n in row] for row in counts] if written else None,
            texttemplate="%{text}" if written else None,
            customdata=counts,
            zmin=0,
            zmax=1,
            colorscale=SHADES,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            hovertemplate="%{customdata} images of %{y} classified as %{x}<br>"
            "%{z:.1%} of the images of %{y}<extra></extra>",
            colorbar=COLOR_BAR,
        )
    )
    common = {"type": "category", "showgrid": False, "zeroline": False}
    figure.update_xaxes(title={"text": "prediction", "standoff": 12}, **common)
    figure.update_yaxes(title={"text": "truth", "standoff": 12}, autorange="reversed", **common)
    return figure.update_layout(margin=MARGIN | {"t": 64})


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
    figure.add_trace(_accuracies([each for each in bins if each.images]))
    figure.add_bar(
        x=[(each.low + each.high) / 2 for each in bins],
        y=[each.images for each in bins],
        width=[0.94 * (each.high - each.low) for each in bins],
        marker={"color": BLUE},
        showlegend=False,
        customdata=[f"{each.low:.1%} to {each.high:.1%}" for each in bins],
        hovertemplate="%{y} images with a confidence of %{customdata}<extra></extra>",
        row=2,
        col=1,
    )
    figure.update_xaxes(range=[0, 1.01], tickformat=".0%")
    figure.update_xaxes(title="confidence: probability of the prediction", row=2, col=1)
    figure.update_yaxes(title="accuracy", tickformat=".0%", range=[0, 1.02], row=1, col=1)
    figure.update_yaxes(title="images", nticks=4, row=2, col=1)
    return figure.update_layout(margin=MARGIN, bargap=0)


def _accuracies(bins: Sequence[Bin]) -> go.Scatter:
    """Draws the accuracy of bins that hold images, with its interval."""
    shares = [each.accuracy or 0.0 for each in bins]
    ends = [
        wilson_interval(round(share * each.images), each.images)
        for share, each in zip(shares, bins, strict=True)
    ]
    return go.Scatter(
        x=[each.confidence for each in bins],
        y=shares,
        mode="lines+markers",
        name="the model",
        marker={"color": BLUE, "size": 8},
        line={"color": BLUE},
        error_y={
            "array": [high - share for share, (_, high) in zip(shares, ends, strict=True)],
            "arrayminus": [share - low for share, (low, _) in zip(shares, ends, strict=True)],
            "symmetric": False,
            "thickness": 1.2,
            "width": 3,
        },
        customdata=[each.images for each in bins],
        hovertemplate="says %{x:.1%}, is right in %{y:.1%}<br>%{customdata} images<extra></extra>",
    )
