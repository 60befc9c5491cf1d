"""The single-key stepper: one text, token by token, with the table of what may come next.

Draws a frame in place, reads a key, moves the session, draws again. What the session can do is its own
business; this file knows keys and the frame.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tokenglass.cli.keys import Keyboard
from tokenglass.cli.screen import Screen, note
from tokenglass.errors import TokenglassError
from tokenglass.text import safe_line, safe_message
from tokenglass.types import Candidate, Step, Token, Tokenization
from tokenglass.views.blocks import Block, Line
from tokenglass.views.cells import cell_width
from tokenglass.views.layout import next_blocks, token_facts, token_strip

if TYPE_CHECKING:
    from tokenglass.session import Session

KEYS = "Enter best  1-9 pick  u undo  y redo  t type  / find  g more  ? help  q quit"
KEYS_DRAWING = "Enter draw  1-9 pick  u undo  r reroll  t type  / find  g more  ? help  q quit"
KEYS_NARROW = "? help  q quit"
HELP = (
    "Enter or →  append the likeliest token; with --do-sample, draw one",
    "1-9 and 0   append the token of that row (0 is row 10)",
    "r           draw the last token again, with another random number",
    "u or ←      take the last token back; nothing is lost",
    "y           bring it back",
    "t           type what comes next; a leading space counts, \\n is a newline",
    "/           look up a token: its rank and probability among all",
    "g           append 10 more; Ctrl-C stops",
    "?           back to the table",
    "q           quit; the text stays on the screen",
)
HELP_NARROW = (
    "Enter  append a token",
    "1-9 0  append that row's token",
    "r      draw the last token again",
    "u      take the last token back",
    "y      bring it back",
    "t      type what comes next",
    "/      look up a token",
    "g      10 more; Ctrl-C stops",
    "?      back to the table",
    "q      quit; the text stays",
)
MORE = 10
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}


def overview(tokenization: Tokenization, session: Session, rows: int = 10) -> list[Block]:
    """The tokens of a prompt and the next-token table, for a pipe."""
    tokens = tokenization.tokens or _tokens(session)
    begins = "" if tokenization.tokens else "; the model starts from its begin-of-text token"
    return [
        Line(token_facts(tokenization) + begins, "facts"),
        token_strip(tokens),
        *next_blocks(replace(session.next, n=rows)),
    ]


def _tokens(session: Session) -> tuple[Token, ...]:
    vocabulary = session.model.tokenizer
    return tuple(vocabulary.token(token_id) for token_id in session.ids)


def step_by_keys(session: Session, screen: Screen, rows: int, file: str | None) -> int:
    """Step until the person quits; returns the exit code.

    Args:
        session: closed at the end, so that its file is free.
        screen: a terminal.
        rows: of the table.
        file: that the session is kept in, which the person is told at the end.
    """
    try:
        return Explorer(session, screen, rows).run()
    finally:
        session.close()
        if file is not None:
            note(f"kept in {safe_line(file)}; go on with it: tokenglass open {safe_line(file)}")


class Explorer:
    """A person, a session and a screen."""

    def __init__(self, session: Session, screen: Screen, rows: int = 10) -> None:
        self._session = session
        self._screen = screen
        self._rows = rows
        self._keyboard = Keyboard()
        self._message = ""
        self._looked_up: list[Candidate] = []
        self._helping = False
        self._drawn_lines = 0
        self._drawn_rows = min(10, rows)
        self._keys: dict[str, Callable[[], None]] = {
            "enter": self._best,
            "right": self._best,
            "u": self._undo,
            "left": self._undo,
            "r": self._reroll,
            "y": self._redo,
            "t": self._type,
            "/": self._look_up,
            "g": self._more,
            "?": self._help,
        }
        self._keys |= {str(row % 10): partial(self._pick, row) for row in range(1, 11)}

    def run(self) -> int:
        """Until the person quits; returns the exit code."""
        try:
            with self._keyboard:
                self._draw()
                while (key := self._keyboard.read()) not in ("q", "", "\x04"):
                    self._press(key)
                    self._draw()
        finally:
            self._message, self._helping = "", False
            self._draw(keys=False)
        return 0

    def _press(self, key: str) -> None:
        action = self._keys.get(key)
        if action is None:
            self._message = f"{safe_line(key)} is no key here; ? shows them all" if key.isprintable() else ""
            return
        self._message = ""
        self._helping = key == "?" and not self._helping
        try:
            action()
        except (TokenglassError, ValueError) as error:
            self._message = safe_message(str(error))

    @property
    def _draws(self) -> bool:
        """Whether tokens are drawn, so that they can be drawn again."""
        return self._session.config.mode == "sample"

    # ------------------------------------------------------------------ keys

    def _best(self) -> None:
        step = self._session.step()
        assert isinstance(step, Step)
        self._moved(step.why())

    def _pick(self, row: int) -> None:
        shown = replace(self._session.next, n=self._drawn_rows).rows
        if row > len(shown):
            raise ValueError(f"row {row} is not on the screen")
        self._moved(self._session.step(token=shown[row - 1].id).why())

    def _undo(self) -> None:
        undone = self._session.undo()
        self._moved(f"{undone.token.text} taken back; y brings it back" if undone else "this is the prompt")

    def _redo(self) -> None:
        redone = self._session.redo()
        self._moved(f"{redone.token.text} is back" if redone else "nothing was taken back here")

    def _reroll(self) -> None:
        """Another draw at the place of the last token; that token stays in the tree."""
        if not self._draws:
            raise ValueError("nothing is drawn in a greedy run; start with --do-sample")
        if not self._session.steps:
            raise ValueError("nothing was drawn yet; Enter draws a token")
        self._session.undo()
        try:
            step = self._session.step(reroll=True)
        except (TokenglassError, ValueError):
            self._session.redo()
            raise
        assert isinstance(step, Step)
        self._moved(step.why())

    def _type(self) -> None:
        text = self._ask("next text (a leading space counts): ")
        if text:
            steps = self._session.step(token=text)
            last = steps if isinstance(steps, Step) else steps[-1]
            many = f"{len(steps)} tokens; the last: " if isinstance(steps, list) else ""
            self._moved(many + last.why())

    def _look_up(self) -> None:
        text = self._ask("token (a leading space counts): ")
        if not text:
            return
        pieces = self._session.model.tokenizer.encode(text, add_special_tokens=False).tokens
        try:
            row = self._session.next.lookup(text)
        except ValueError:
            if not pieces:
                raise
            row = self._session.next.lookup(pieces[0].id)
            cut = " ".join(piece.text for piece in pieces)
            self._message = f"{len(pieces)} tokens: {cut}; this is the first"
        self._looked_up = [row]

    def _more(self) -> None:
        before = len(self._session.steps)
        try:
            for _ in range(MORE):
                step = self._session.step()
                assert isinstance(step, Step)
                self._moved(step.why())
                if step.finish_reason:
                    return
                self._draw()
        except KeyboardInterrupt:  # mostly while the table of the next token is computed for the screen
            self._moved(f"stopped after {len(self._session.steps) - before} of {MORE}")

    def _help(self) -> None:
        """Shown in place of the table until the next key."""

    def _moved(self, message: str) -> None:
        self._message = message
        self._looked_up = []

    def _ask(self, question: str) -> str:
        """A line typed by the person, escapes understood; "" when they thought better of it."""
        self._draw(keys=False)
        with self._keyboard.line_mode():
            try:
                typed = input(question)
            except (KeyboardInterrupt, EOFError):
                typed = ""
                print()
        self._drawn_lines += 1 + max(0, cell_width(question + typed) - 1) // self._screen.width
        return re.sub(r"\\([nt\\])", lambda match: _ESCAPES[match[1]], typed)

    # ----------------------------------------------------------------- frame

    def _draw(self, *, keys: bool = True) -> None:
        """The frame, in place of the one before; at the end, and while a line is typed, without the keys."""
        screen = self._screen
        frame = self._frame(screen.width, keys)[1 - screen.height :]
        if screen.can_redraw and self._drawn_lines:
            sys.stdout.write(f"\x1b[{self._drawn_lines}A\r\x1b[J")
        sys.stdout.write("".join(f"{line}\n" for line in frame))
        sys.stdout.flush()
        self._drawn_lines = len(frame)

    def _frame(self, width: int, keys: bool) -> list[str]:
        """Text, table, message and keys in fewer lines than the screen; the text's start gives way first."""
        below = ["", *self._screen.painted([Line(self._message)])] if self._message else []
        if keys:
            below += [] if below else [""]
            line = KEYS_DRAWING if self._draws else KEYS
            below += self._screen.painted([Line(line if cell_width(line) <= width else KEYS_NARROW, "facts")])
        if self._helping:
            table = self._help_lines(width)
        else:
            strip = len(self._strip(width, 4 if self._screen.height >= 20 else 2))
            table = self._table(self._screen.height - 2 - strip - len(below))
        room = self._screen.height - 2 - len(table) - len(below)
        return [*(self._strip(width, room) if room >= 2 else []), "", *table, *below]

    def _help_lines(self, width: int) -> list[str]:
        texts = HELP if max(map(cell_width, HELP)) <= width else HELP_NARROW
        return self._screen.painted(map(Line, texts))

    def _table(self, room: int) -> list[str]:
        """The table in at most `room` lines: first the headings give way to five rows, then the rows."""
        try:
            following = self._session.next
        except TokenglassError as error:
            return self._screen.painted([Line(safe_message(str(error)))])
        rows, headed = min(self._rows, following.logits.size, max(1, room)), True
        table = self._screen.painted(next_blocks(replace(following, n=rows), self._looked_up))
        while (rows > 1 or headed) and len(table) > room:
            if rows <= 5 and headed:
                headed = False
            else:
                rows -= 1
            shown = next_blocks(replace(following, n=rows), self._looked_up)
            table = self._screen.painted(shown if headed else shown[-1:])
        self._drawn_rows = min(10, rows)
        return table

    def _strip(self, width: int, most: int) -> list[str]:
        """The text, token by token with ids; only its end where it is longer than `most` lines."""
        ids = self._session.ids
        first = max(0, len(ids) - width * most)  # a token takes a cell and a hairline at least
        tokens = map(self._session.model.tokenizer.token, ids[first:])
        shown = token_strip(tokens, written_from=len(self._session.prompt_ids) - first)
        drawn = self._screen.painted([shown])
        if len(drawn) <= most:
            return drawn
        return (["…"] if most > 2 else []) + drawn[-max(2, (most - 1) // 2 * 2) :]
