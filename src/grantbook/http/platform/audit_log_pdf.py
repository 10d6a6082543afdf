"""The audit log as a PDF: reportlab draws it. Each entry is a few lines of text; nothing is cut off."""

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any, Final

Json = dict[str, Any]
_MARGIN: Final = 42
_SIZE: Final = 8
_LEADING: Final = 11
_INDENT: Final = 12
_FONTS: Final = {"GrantbookText": "Vera.ttf", "GrantbookBold": "VeraBd.ttf"}


def render(title: str, about: Sequence[str], entries: Iterable[Json]) -> bytes:
    """A document of A4 pages: the title, lines about the whole, and the entries in order."""
    paper = _Paper(title)
    paper.write(title, "GrantbookBold", size=13)
    for line in about:
        paper.write(line, "GrantbookText")
    for entry in entries:
        paper.skip_line()
        for number, line in enumerate(_lines(entry)):
            paper.write(line, "GrantbookText" if number else "GrantbookBold", indent=_INDENT if number else 0)
    return paper.finish()


def _lines(entry: Json) -> Iterator[str]:
    yield f"{entry['created_at']}  {entry['action_type']}  {entry['entity_type']}  {_called(entry, 'entity')}"
    yield f"by {_called(entry, 'actor')}" + (f", for {_called(entry, 'target')}" if entry["target_id"] else "")
    if entry["previous_value"] is not None:
        yield f"before: {entry['previous_value']}"
    if entry["new_value"] is not None:
        yield f"after: {entry['new_value']}"
    metadata = entry["metadata"]
    if metadata.get("reason"):
        yield f"reason: {metadata['reason']}"
    yield f"{entry['id']}, trace {metadata['trace_id']}" if metadata.get("trace_id") else str(entry["id"])


def _called(entry: Json, what: str) -> str:
    name, id_ = entry[f"{what}_name"], entry[f"{what}_id"]
    return str(id_) if name in {None, id_} else f"{name} ({id_})"


class _Paper:
    """Lines from the top of a page to its end, and on with the next one."""

    def __init__(self, title: str) -> None:
        from reportlab.lib.pagesizes import A4  # late: no other request waits for reportlab
        from reportlab.pdfbase.pdfmetrics import getFont, getRegisteredFontNames, registerFont
        from reportlab.pdfbase.ttfonts import TTFont
        from reportlab.pdfgen.canvas import Canvas

        for name, file in _FONTS.items():
            if name not in getRegisteredFontNames():
                registerFont(TTFont(name, file))
        self._known = getFont("GrantbookText").face.charToGlyph
        self._width, self._height = A4
        self._bytes = BytesIO()
        self._canvas = Canvas(self._bytes, pagesize=A4, pageCompression=1)
        self._canvas.setTitle(title)
        self._page = 0
        self._y = 0.0
        self._turn_page()

    def write(self, text: str, font: str, *, size: int = _SIZE, indent: int = 0) -> None:
        """A text, on as many lines as it takes."""
        from reportlab.lib.utils import simpleSplit

        shown = self._drawable(text)
        for line in simpleSplit(shown, font, size, self._width - 2 * _MARGIN - indent) or [""]:
            if self._y < _MARGIN + _LEADING:
                self._canvas.showPage()
                self._turn_page()
            self._canvas.setFont(font, size)
            self._canvas.drawString(_MARGIN + indent, self._y, line)
            self._y -= _LEADING if size == _SIZE else 2 * _LEADING

    def skip_line(self) -> None:
        self._y -= _LEADING / 2

    def finish(self) -> bytes:
        self._canvas.save()
        return self._bytes.getvalue()

    def _turn_page(self) -> None:
        self._page += 1
        self._y = self._height - _MARGIN
        self._canvas.setFont("GrantbookText", _SIZE)
        self._canvas.drawRightString(self._width - _MARGIN, _MARGIN - _LEADING, str(self._page))

    def _drawable(self, text: str) -> str:
        """What the font cannot show is told by its code point; a long word is broken, so that it stays on the page."""
        shown = "".join(each if ord(each) in self._known else f"<U+{ord(each):04X}>" for each in " ".join(text.split()))
        return " ".join(_broken(word) for word in shown.split(" "))


def _broken(word: str, longest: int = 80) -> str:
    return " ".join(word[at : at + longest] for at in range(0, len(word), longest)) if len(word) > longest else word
