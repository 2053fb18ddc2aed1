"""Questions to the person at the terminal, and the answers that stand in for one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from getpass import getpass

from riskd.host.errors import UserError
from riskd.model.safe_text import printable


class Dialog:
    """Asks for what a command line has left open.

    :param is_asking: whether there is a person to ask; otherwise each question takes its default answer.
    :param read: reads a line after a prompt; ``EOFError`` is the end of the answers.
    :param read_secret: likewise, and shows nothing of what is typed.
    """

    def __init__(
        self,
        *,
        is_asking: bool,
        read: Callable[[str], str] = input,
        read_secret: Callable[[str], str] = getpass,
    ) -> None:
        self.is_asking = is_asking
        self._read = read
        self._read_secret = read_secret

    def say(self, line: str = "") -> None:
        """Write a line."""
        sys.stdout.write(f"{printable(line)}\n")
        sys.stdout.flush()

    def ask(self, question: str, default: str = "") -> str:
        """Return the answer to a question; Enter takes the default."""
        if not self.is_asking:
            return default
        shown = f" [{default}]" if default else ""
        return _answer(self._read, f"{question}{shown}: ").strip() or default

    def ask_until(self, question: str, check: Callable[[str], str], default: str = "") -> str:
        """Return an answer that passes a check; ask again until one does.

        :param check: returns what is wrong with an answer, or an empty text.
        :raises UserError: there is no person to ask, and the default does not pass.
        """
        while True:
            answer = self.ask(question, default)
            problem = check(answer)
            if not problem:
                return answer
            if not self.is_asking:
                raise UserError(problem)
            self.say(problem)

    def ask_secret(self, question: str) -> str:
        """Return what a person types and nothing shows."""
        return _answer(self._read_secret, f"{question}: ").strip()

    def confirm(self, question: str) -> bool:
        """Return whether a person agrees; Enter does."""
        while self.is_asking:
            answer = self.ask(f"{question} [Y/n]").lower()
            if answer in ("", "y", "yes", "n", "no"):
                return not answer.startswith("n")
        return True


def _answer(read: Callable[[str], str], prompt: str) -> str:
    try:
        return read(prompt)
    except (EOFError, KeyboardInterrupt):
        # The prompt's line has no end yet.
        sys.stdout.write("\n")
        raise UserError("no answer; nothing was written") from None


def missing(options: Sequence[tuple[str, object]]) -> None:
    """Check that everything is there that cannot be asked for.

    :param options: what the command line may say, and the value that is there.
    :raises UserError: something is missing; a line for each.
    """
    problems = [
        f"{option} is missing; riskctl asks for it only on a terminal, and without --yes"
        for option, value in options
        if not value
    ]
    if problems:
        raise UserError(*problems)
