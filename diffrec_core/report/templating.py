"""The templates that pages are made from."""

from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined


def environment() -> Environment:
    """Templates of this package, whatever is inserted being escaped."""
    templates = resources.files(__package__).joinpath("templates")
    return Environment(
        loader=FunctionLoader(lambda name: templates.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
