"""Functions of commands, imported only where the command runs."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any


class Later:
    """A function that is imported at its first call.

    :param module: its module.
    :param name: its name there.
    """

    def __init__(self, module: str, name: str) -> None:
        self._name = f"{module}:{name}"

    @property
    def function(self) -> Callable[..., Any]:
        """The function itself."""
        found: Callable[..., Any] = resolve_name(self._name)
        return found

    def __call__(self, *arguments: Any) -> Any:
        """Import and call it."""
        return self.function(*arguments)
