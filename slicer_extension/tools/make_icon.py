"""Draws the icon: an axial outline with two segmented structures and one window of the network."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

SIDE, SCALE = 128, 8
ICON = Path(__file__).resolve().parent.parent / "ItkInfer" / "Resources" / "Icons" / "ItkInfer.png"


def main() -> None:
    """Draw the icon eight times as large and reduce it, for smooth edges."""
    image = Image.new("RGBA", (SIDE * SCALE, SIDE * SCALE), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)

    def box(*corners: int) -> tuple[int, ...]:
        return tuple(corner * SCALE for corner in corners)

    draw.rounded_rectangle(box(4, 4, 124, 124), 24 * SCALE, fill="#12343b")
    draw.ellipse(box(22, 14, 106, 114), fill="#d9e4e6")
    draw.ellipse(box(29, 21, 99, 107), fill="#8fa7ab")
    draw.ellipse(box(37, 46, 59, 82), fill="#e6194b")
    draw.ellipse(box(69, 46, 91, 82), fill="#ffe119")
    draw.rectangle(box(61, 37, 99, 91), outline="#35d0ba", width=4 * SCALE)
    image.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(ICON, optimize=True)


if __name__ == "__main__":
    main()
