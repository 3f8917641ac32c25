"""What a function that makes a task says of it: its docstring is a paragraph, a picture in text, and a seed idea."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Description:
    """paragraph: in one line. picture: its lines, maybe none. idea: what one may learn there."""

    paragraph: str
    picture: str
    idea: str

    @property
    def detail(self) -> str:
        """Paragraph and picture."""
        return f"{self.paragraph}\n\n{self.picture}"


def about_module(part: Any) -> str:
    """What the module of a part's class says of it: of a learner, its update rule."""
    return inspect.getdoc(sys.modules[type(part).__module__]) or ""


def described(function: Callable[..., Any]) -> Description:
    """As the docstring has it; what follows the seed idea, such as `Raises:`, is left out."""
    paragraphs, _, rest = (inspect.getdoc(function) or "").partition("Picture::")
    picture, _, idea = rest.partition("Seed idea:")
    return Description(
        paragraph=" ".join(paragraphs.split()),
        picture=textwrap.dedent(picture.strip("\n")).rstrip(),
        idea=" ".join(re.split(r"\n[A-Z][\w ,()]*:", idea)[0].split()),
    )
