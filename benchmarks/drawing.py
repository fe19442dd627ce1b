"""Pictures as SVG, for the docs: curves, bars, and graphs. They adapt to light and dark pages; text stays text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
# Told apart by eyes of every kind (Okabe and Ito), and on both grounds.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a9548b", "#8a6d00", "#5a6472")
DARK_COLOURS = ("#56b4e9", "#ff8f4d", "#2fc79b", "#e39bc9", "#f0c94d", "#a7b1bf")
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 64, 24, 64, 52


@dataclass
class Drawing:
    """In pixels, y downwards. `title` and `note` say what is shown, of which data."""

    width: int
    height: int
    title: str
    note: str = ""
    shapes: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, kind: str = "label", anchor: str = "start", turned: bool = False) -> None:
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        self.shapes.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{escape(text)}</text>')

    def line(self, one: tuple[float, float], other: tuple[float, float], kind: str = "grid") -> None:
        ends = f'x1="{one[0]:.1f}" y1="{one[1]:.1f}" x2="{other[0]:.1f}" y2="{other[1]:.1f}"'
        self.shapes.append(f'<line class="{kind}" {ends}/>')

    def curve(self, points: Sequence[tuple[float, float]], colour: int) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.shapes.append(f'<polyline class="curve s{colour}" points="{path}"/>')

    def bar(self, x: float, y: float, width: float, height: float, colour: int) -> None:
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self.shapes.append(f'<rect class="f{colour}" {place} rx="2"/>')

    def dot(self, x: float, y: float, radius: float, colour: int) -> None:
        self.shapes.append(f'<circle class="node f{colour}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>')

    def legend(self, names: Mapping[int, str], x: float, y: float) -> None:
        for colour, name in names.items():
            self.shapes.append(f'<rect class="f{colour}" x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10" rx="2"/>')
            self.text(x + 16, y, name)
            x += 36 + 6.6 * len(name)

    def svg(self) -> str:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img"'
        ground = f'<rect class="ground" x="0.5" y="0.5" width="{self.width - 1}" height="{self.height - 1}" rx="8"/>'
        titled = f'<text class="title" x="20" y="28">{escape(self.title)}</text><text class="label" x="20" y="46">{escape(self.note)}</text>'
        described = f"<title>{escape(self.title)}. {escape(self.note)}</title>"
        body = "\n".join(self.shapes)
        size = f'width="{self.width}" height="{self.height}"'
        return f"{head} {size}>{described}<style>{_style()}</style>\n{ground}\n{titled}\n{body}\n</svg>\n"


def _style() -> str:
    def colours(shades: Sequence[str]) -> str:
        return "".join(f".s{i}{{stroke:{shade}}}.f{i}{{fill:{shade}}}" for i, shade in enumerate(shades))

    shared = (
        f"text{{font-family:{FONT};font-size:12px}}.title{{font-size:15px;font-weight:600}}"
        ".curve{fill:none;stroke-width:2.2;stroke-linejoin:round}.dashed{stroke-dasharray:5 4}.node{stroke-width:1.5}"
        ".cut{stroke-width:2.5;stroke-dasharray:6 4}.edge{stroke-width:1.4}.halo{paint-order:stroke;stroke-width:4px}"
    )
    light = (
        ".ground{fill:#fff;stroke:#d5dae1}text{fill:#1c2430}.label{fill:#4a5565}.grid{stroke:#e4e8ee}.axis,.dashed{stroke:#7b8696}"
        ".edge{stroke:#8d97a5}.node{stroke:#fff}.cut{stroke:#c1121f}.halo{stroke:#fff}"
    )
    dark = (
        ".ground{fill:#12161d;stroke:#303947}text{fill:#e8ecf2}.label{fill:#b4bdca}.grid{stroke:#262e3a}.axis,.dashed{stroke:#8a95a5}"
        ".edge{stroke:#6d7887}.node{stroke:#12161d}.cut{stroke:#ff6b6b}.halo{stroke:#12161d}"
    )
    return f"{shared}{light}{colours(COLOURS)}@media (prefers-color-scheme:dark){{{dark}{colours(DARK_COLOURS)}}}"


@dataclass
class Axes:
    """A frame in a drawing: `x` and `y` are (least, most) of what is shown."""

    drawing: Drawing
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        width = self.drawing.width - MARGIN_LEFT - MARGIN_RIGHT
        height = self.drawing.height - MARGIN_TOP - MARGIN_BOTTOM
        share = (x - self.x[0]) / (self.x[1] - self.x[0]), (y - self.y[0]) / (self.y[1] - self.y[0])
        return MARGIN_LEFT + share[0] * width, MARGIN_TOP + (1 - share[1]) * height

    def frame(self, ticks_x: Mapping[float, str], ticks_y: Mapping[float, str], name_x: str, name_y: str) -> None:
        for value, label in ticks_y.items():
            self.drawing.line(self.at(self.x[0], value), self.at(self.x[1], value))
            left, middle = self.at(self.x[0], value)
            self.drawing.text(left - 8, middle + 4, label, anchor="end")
        for value, label in ticks_x.items():
            middle, bottom = self.at(value, self.y[0])
            self.drawing.text(middle, bottom + 18, label, anchor="middle")
        self.drawing.line(self.at(self.x[0], self.y[0]), self.at(self.x[1], self.y[0]), "axis")
        self.drawing.text(self.drawing.width / 2, self.drawing.height - 12, name_x, anchor="middle")
        self.drawing.text(16, self.drawing.height / 2 + 10, name_y, anchor="middle", turned=True)

    def upright(self, x: float, label: str) -> None:
        self.drawing.line(self.at(x, self.y[0]), self.at(x, self.y[1]), "dashed")
        left, middle = self.at(x, (self.y[0] + self.y[1]) / 2)
        self.drawing.text(left + 6, middle, label, kind="label halo")
