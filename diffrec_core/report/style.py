"""Look of pages and drawings: the colours of both schemes, letters, and the templates."""

from collections.abc import Mapping
from importlib import resources
from typing import Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

_COLOURS: Final = {
    "page": ("#ffffff", "#12171c"),
    "soft": ("#f4f6f8", "#1a2128"),
    "text": ("#1c2126", "#e6eaee"),
    "muted": ("#57606a", "#a3aeb9"),
    "line": ("#dde2e7", "#323b44"),
    "mark": ("#7c8894", "#76828e"),
    "torso": ("#82bdb6", "#2d7c72"),
    "tail": ("#d3dcdf", "#3d4a55"),
    "accent": ("#0b6e66", "#56c7b5"),
    "red": ("#b3261e", "#ff9d94"),
    "blue": ("#2f5fc4", "#8fb4ff"),
    "amber": ("#7a5200", "#e2b866"),
    "accent-tint": ("#e3f3f0", "#14322f"),
    "red-tint": ("#fbe6e4", "#43201d"),
    "amber-tint": ("#fbf0d9", "#352a14"),
    "gray-tint": ("#eceff2", "#232b33"),
}
LIGHT: Final[Mapping[str, str]] = {name: light for name, (light, _) in _COLOURS.items()}
"""Colours by name. They differ, so that a drawing's colours can be named again (`svg.py`)."""
DARK: Final[Mapping[str, str]] = {name: dark for name, (_, dark) in _COLOURS.items()}
_PAPER = {**LIGHT, "soft": "#ffffff", "text": "#000000", "muted": "#444444", "line": "#cccccc"}

_FONTS = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'
DRAWING_CSS: Final = (
    f"body,svg{{font-family:{_FONTS}}}\n"
    "svg{overflow:visible;stroke-linejoin:round}\n"
    "svg text{stroke:var(--page);stroke-width:4px;paint-order:stroke;"
    "font-variant-numeric:tabular-nums}\n"
)
"""Texts keep a seam of the page's colour, so that lines behind them do not disturb."""


def palette_css(selector: str = ":root") -> str:
    """Return the colours as CSS variables: light, dark, and on paper."""

    def rule(colours: Mapping[str, str]) -> str:
        return selector + "{" + ";".join(f"--{name}:{c}" for name, c in colours.items()) + "}"

    dark = f"@media (prefers-color-scheme:dark){{{rule(DARK)}}}"
    return f"{rule(LIGHT)}\n{dark}\n@media print{{{rule(_PAPER)}}}\n"


def template_environment() -> Environment:
    """Templates of this package, whatever is inserted being escaped."""
    templates = resources.files(__package__).joinpath("templates")
    environment = Environment(
        loader=FunctionLoader(lambda name: templates.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["shared_css"] = Markup(palette_css() + DRAWING_CSS)  # noqa: S704 - constant
    return environment
