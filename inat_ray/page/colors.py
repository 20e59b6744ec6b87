"""Colors that color-blind readers can tell apart, on white and on black (Okabe & Ito, 2008)."""

BLUE, ORANGE, GREEN, VERMILION = "#3a8fd0", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, GRAY = "#cc79a7", "#56b4e9", "#8b949e"

SERIES = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GRAY)
"""For runs or configurations next to each other."""

SCALE = "Viridis"
"""For a quantity: even steps look even, in gray too."""

STATES = {
    "finished": (BLUE, "circle"),
    "stopped": (GRAY, "circle-open"),
    "stopped_by_hand": (PURPLE, "circle-open"),
    "paused": (SKY, "circle-open"),
    "running": (GREEN, "triangle-right"),
    "interrupted": (ORANGE, "diamond-open"),
    "diverged": (VERMILION, "x"),
    "out_of_memory": (VERMILION, "cross"),
    "failed": (VERMILION, "x-open"),
}
"""How a trial ended -> the color and symbol of its point."""
