"""Styled text, painted on an urwid canvas and written to the terminal; keys.

Most lines are the same from one draw to the next, so painted lines are cached.  The terminal rewrites only the
cells that changed: urwid compares and writes whole rows.  A quote changes a few digits of a row many times a
second, and over a slow connection each cell counts.

While the screen runs, the terminal's own line discipline acts on no key: Ctrl-S would freeze a screen that still
says LIVE, and a pasted text may have Ctrl-C in it.  The keys for signals are sent on from here if they were typed.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, TextIO

import urwid
from urwid.display import escape

from trader.model.formatting import cut_text, text_width
from trader.ui.output import TerminalOutput
from trader.ui.paste import PasteFilter


class Row:
    """A painted row of the screen.

    :ivar letters: the text of the whole row.
    :ivar marks: for each letter, one that stands for its style.
    :ivar is_single_width: whether each letter fills exactly one cell.
    """

    __slots__ = ("_content", "_number", "is_single_width", "letters", "marks")

    def __init__(self, letters: str, marks: str, *, is_single_width: bool) -> None:
        self.letters = letters
        self.marks = marks
        self.is_single_width = is_single_width
        self._content: Content = []
        self._number: int | None = None

    @property
    def content(self) -> Content:
        """The row as urwid reads it from a canvas."""
        if not self._content:
            self._content = [
                (style, None, text.encode()) for style, text in _runs(self.letters, self.marks)
            ]
        return self._content

    @property
    def number(self) -> int:
        """Four bytes for each cell as one integer, the first cell lowest."""
        if self._number is None:
            self._number = _number(self.letters) | (_number(self.marks) << _LETTER_BITS)
        return self._number

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Row) and self.letters == other.letters and self.marks == other.marks
        )

    __hash__ = None  # type: ignore[assignment]


def _runs(letters: str, marks: str) -> Iterator[tuple[str | None, str]]:
    """Yield style and text of each run of letters; neighbors have different styles."""
    begin = 0
    for mark, run in groupby(marks):
        end = begin + len(list(run))
        yield _style_of[mark], letters[begin:end]
        begin = end


class _Marks(dict[str | None, str]):
    """A letter for each style that has been painted."""

    def __missing__(self, style: str | None) -> str:
        self[style] = mark = chr(len(self) + 1)
        _style_of[mark] = style
        return mark


_marks: Final = _Marks()
_style_of: Final[dict[str, str | None]] = {}

Content = list[tuple[str | None, None, bytes]]
"""Style, character set and text of each run of characters, as urwid reads them from a canvas."""

Piece = tuple[str | None, str]
"""A style and a text; ``None`` is the style of the terminal itself."""

_MERGED_CELLS: Final = 6
"""So many unchanged cells are written again, because moving the cursor past them takes more bytes."""

_CACHED: Final = 512
"""Lines that are kept painted."""


class StyledCanvas(urwid.Canvas):
    """Rows of styled text that fill the screen.

    :ivar lines: the rows; a row that did not change since the last canvas is the very same object.
    """

    def __init__(self, lines: Sequence[Row], columns: int) -> None:
        super().__init__()
        self.lines = tuple(lines)
        self._columns = columns

    @property
    def text(self) -> list[bytes]:
        """The rows without their styles."""
        return [row.letters.encode() for row in self.lines]

    def cols(self) -> int:
        """Return the width in columns."""
        return self._columns

    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.lines)

    def content(self, *_arguments: Any, **_keywords: Any) -> Iterable[Content]:  # type: ignore[override]
        """Return all rows.

        urwid asks for a part of them only where a canvas is inside another one.
        """
        return [row.content for row in self.lines]


def paint(
    lines: Sequence[Sequence[Piece]], columns: int, rows: int, sanitize: Callable[[str], str]
) -> StyledCanvas:
    """Return a canvas of ``lines``, cut and padded to ``columns`` and ``rows``.

    :param sanitize: replaces each character that must not reach the terminal with another one.  Reasons and
        messages come from elsewhere; every text passes here on its way to the terminal.
    """
    filled = [*lines, *[() for _ in range(rows)]][:rows]
    return StyledCanvas([_paint_line(tuple(line), columns, sanitize) for line in filled], columns)


@lru_cache(maxsize=_CACHED)
def _paint_line(line: tuple[Piece, ...], columns: int, sanitize: Callable[[str], str]) -> Row:
    letters = sanitize("".join([text for _, text in line]))
    marks = "".join([_marks[style] * len(text) for style, text in line])
    width = text_width(letters)
    if width > columns:
        letters = cut_text(letters, columns)
        width = text_width(letters)
    is_single_width = width == len(letters)
    letters += " " * (columns - width)
    return Row(
        letters,
        marks[: len(letters)].ljust(len(letters), _marks[None]),
        is_single_width=is_single_width,
    )


_SIGNAL_KEYS: Final = (
    (termios.VINTR, signal.SIGINT),
    (termios.VQUIT, signal.SIGQUIT),
    (termios.VSUSP, signal.SIGTSTP),
)
"""The keys to which a terminal reacts with a signal, by their places in its settings."""


class Terminal(urwid.display.raw.Screen):
    """urwid's terminal, drawn by cell, without the traps of line discipline.

    :param input_file: what is typed.
    :param output: what is shown; a :class:`TerminalOutput` never blocks.
    :ivar output: ``output``, if it is one that never blocks.
    """

    _shown: Sequence[Row] = ()
    _shown_size = (0, 0)

    def __init__(
        self,
        input_file: TextIO = sys.stdin,
        output: TextIO | TerminalOutput = sys.stdout,
    ) -> None:
        super().__init__(input_file, output, bracketed_paste_mode=True)
        self.output = output if isinstance(output, TerminalOutput) else None
        self._paste = PasteFilter()
        self._signal_keys: dict[int, signal.Signals] = {}
        self._is_ring_due = False

    @property
    def is_congested(self) -> bool:
        """Whether the terminal takes no output at present, so that nothing can be drawn."""
        return self.output is not None and self.output.is_congested

    def ring(self) -> None:
        """Ring the bell; if the terminal takes no output now, with the next draw."""
        self._is_ring_due = self.is_congested
        if not self._is_ring_due:
            self.write("\a")
            self.flush()

    def _start(self, *arguments: Any, **choices: Any) -> None:
        self._paste = PasteFilter()
        super()._start(*arguments, **choices)
        self._take_keys()

    def _stop(self) -> None:
        if self.output is not None:
            self.output.settle()
        super()._stop()
        if self.output is not None:
            self.output.settle()

    def _take_keys(self) -> None:
        """Switch off echo, line editing, flow control and the keys for signals."""
        descriptor = self._input_fileno()
        if descriptor is None or not os.isatty(descriptor):
            return
        settings = termios.tcgetattr(descriptor)
        settings[0] &= ~termios.IXON
        settings[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN | termios.ISIG)
        characters = settings[6]
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
        # Output may be held since before the start.
        termios.tcflow(descriptor, termios.TCOON)
        # A terminal marks a key that is switched off with a zero.
        self._signal_keys = {
            ord(characters[place]): number
            for place, number in _SIGNAL_KEYS
            if characters[place] != b"\0"
        }

    def resume(self) -> None:
        """Take the terminal again after a stop that the program could not prepare for.

        A shell has written on the screen and set the line discipline to its liking by then.
        """
        if not self._started:
            return
        # First this: in the background it stops the program again, before anything was written.
        self._take_keys()
        if self._alternate_buffer:
            self.write(escape.PrivateMode.ALTERNATE_SCREEN_BUFFER.enable_seq)
        self.write(escape.PrivateMode.BRACKETED_PASTE.enable_seq)
        if self._mouse_tracking_enabled:
            self.write(escape.MOUSE_TRACKING_ON)
        self._setup_G1_done = False
        # As after a change of size, everything is drawn.
        self._sigwinch_handler()

    def get_available_raw_input(self) -> list[int]:
        """Return what was typed since the last call; nothing that was pasted.

        The keys for signals are not returned, but sent as signals, as the line discipline would.
        """
        typed = self._paste.typed(super().get_available_raw_input(), time.monotonic())
        for code in typed:
            if code in self._signal_keys:
                # To the whole foreground process group, which may have a script around the program.
                os.kill(0, self._signal_keys[code])
        return [code for code in typed if code not in self._signal_keys]

    def draw_screen(self, size: tuple[int, int], canvas: urwid.Canvas) -> None:
        """Show a canvas; write only the cells that changed since the last one.

        A terminal that takes no output shows nothing new; the caller draws again once it does.
        """
        if self.is_congested:
            return
        if self._is_ring_due:
            self.ring()
        if not isinstance(canvas, StyledCanvas):
            super().draw_screen(size, canvas)
            return
        # urwid empties its buffer when everything must be drawn: at first, after a resize, after clear().
        # Writing the last cell makes some terminals scroll; urwid knows how to avoid it.
        is_complete = self.screen_buf and size == self._shown_size
        if is_complete and self._shown[-1] == canvas.lines[-1]:
            self._write_changes(canvas)
        else:
            self.clear()
            super().draw_screen(size, canvas)
        self._shown, self._shown_size = canvas.lines, size

    def _write_changes(self, canvas: StyledCanvas) -> None:
        changes = []
        for number, (old, new) in enumerate(zip(self._shown, canvas.lines, strict=True)):
            if old is new or old == new:
                continue
            # Where letters and cells are not the same, the whole row is written.
            if not (old.is_single_width and new.is_single_width):
                changes.append(self._sequence(number, 0, len(new.letters), new))
                continue
            for begin, end in changed_spans(old, new):
                changes.append(self._sequence(number, begin, end, new))
        self.write("".join(changes))
        self.flush()

    def _sequence(self, number: int, begin: int, end: int, row: Row) -> str:
        """Return the control sequences and text that write a span of a row at its place."""
        move, mark = f"\x1b[{number + 1};{begin + 1}H", row.marks[begin]
        if row.marks.count(mark, begin, end) == end - begin:
            return f"{move}{self._attr_to_escape(_style_of[mark])}{row.letters[begin:end]}"
        parts = [move]
        for style, text in _runs(row.letters[begin:end], row.marks[begin:end]):
            parts += (self._attr_to_escape(style), text)
        return "".join(parts)


def changed_spans(before: Row, after: Row) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each span in which two rows of one length differ."""
    # A draw compares some twenty rows; to compare them letter by letter takes four times as long.
    difference = before.number ^ after.number
    if not difference:
        return
    for match in _SPAN.finditer(difference.to_bytes(_LETTER_BYTES * len(after.letters), "little")):
        yield match.start() // _LETTER_BYTES, -(-match.end() // _LETTER_BYTES)


def _number(text: str) -> int:
    return int.from_bytes(text.encode("utf-32-le"), "little")


_LETTER_BYTES: Final = 4
_LETTER_BITS: Final = 21
"""A letter has no more; the other eleven bits of a cell are those of its mark, of which there are fewer than 2048."""
_SPAN: Final = re.compile(rb"[^\0](?:\0{0,%d}[^\0])*" % (_LETTER_BYTES * (_MERGED_CELLS + 1) - 1))
"""Bytes that differ, with no more between them than the cells that are written again anyway."""
