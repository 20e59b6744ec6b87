"""Colours that are told apart by everyone, on white and on black (Okabe & Ito, 2008)."""

BLUE, ORANGE, GREEN, VERMILION = "#3a8fd0", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, GREY = "#cc79a7", "#56b4e9", "#8b949e"

SERIES = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY)
"""Of runs or configurations beside each other."""

SCALE = "Viridis"
"""Of a quantity: even steps look even, in grey too."""

STATES = {
    "finished": (BLUE, "circle"),
    "stopped": (GREY, "circle-open"),
    "paused": (SKY, "circle-open"),
    "running": (GREEN, "triangle-right"),
    "interrupted": (ORANGE, "diamond-open"),
    "diverged": (VERMILION, "x"),
    "out_of_memory": (VERMILION, "cross"),
    "failed": (VERMILION, "x-open"),
}
"""How a trial ended -> colour and symbol of its point."""
