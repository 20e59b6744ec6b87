"""The page's palette; docs/drawing.md says how it is used.

Every color has a contrast of 3 or more on the light and on the dark page, so that figures need one
set. They were chosen to stay apart for readers with each of the three kinds of color blindness
(Machado et al., 2009): between any two of `SERIES` at least 6 units of 100 x OKLab.
"""

PAPERS = ("#ffffff", "#14181d")
"""The light and the dark page."""

INK = {
    "ink": "#1c2127",
    "faint": "#5a6470",
    "line": "#d5dadf",
    "paper": "#ffffff",
    "panel": "#f5f6f7",
}
"""The page's own colors in a figure by itself, which is for white paper."""

BLUE, ORANGE, VIOLET, OLIVE = "#2f7ac6", "#cf7500", "#a56bf2", "#8a6a1c"
CRIMSON, GREEN, GRAY = "#b8405f", "#12a07a", "#7c8794"

SERIES = (BLUE, ORANGE, VIOLET, OLIVE, CRIMSON, GREEN)
"""For runs or configurations next to each other, in this order."""

SCALE = ["#2462d2", "#715bb7", "#9b57a0", "#b85688", "#cb5c6d", "#d56a4a", "#d17f00"]
"""For a quantity that is read from points and lines, low to high: no step is lost on any reader."""

STATES = {
    "finished": (BLUE, "circle"),
    "stopped": (GRAY, "circle-open"),
    "stopped_by_hand": (VIOLET, "circle-open"),
    "paused": (OLIVE, "circle-open"),
    "running": (GREEN, "triangle-right"),
    "interrupted": (ORANGE, "diamond-open"),
    "diverged": (CRIMSON, "x"),
    "out_of_memory": (CRIMSON, "cross"),
    "failed": (CRIMSON, "x-open"),
}
"""How a trial ended -> the color and symbol of its point."""
