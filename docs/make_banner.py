r"""Write docs/images/banner.png, the picture of the README: three runs' worth of what gflow makes, side by side.

gflow run vgrow_mnist5k
gflow run vgrow_ring8 train.steps=100
gflow report runs/vgrow_ring8-s0-001
chromium --headless --hide-scrollbars --window-size=390,382 --force-device-scale-factor=1.5 --screenshot=report.png \
    runs/vgrow_ring8-s0-001/report.html
python docs/make_banner.py runs/vgrow_mnist5k-s0-001 runs/vgrow_ring8-s0-001 report.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

BANNER = Path(__file__).parent / "images" / "banner.png"
HEIGHT, GAP, CAPTION, COLOURS = 548, 16, 36, 200
STEPS = (20, 100, 250)


def digits(run: Path, step: int) -> Image.Image:
    """The first two columns of a sample picture, each pixel four."""
    picture = Image.open(run / "samples" / f"{step:06}.png").convert("RGB")
    strip = picture.crop((0, 0, picture.width // 4 + 2, picture.height))
    return strip.resize((2 * strip.width, HEIGHT), Image.Resampling.NEAREST)


def flow(run: Path) -> Image.Image:
    """The right panel of the flow field inside its axes: paths, velocities, density ratio."""
    figure = Image.open(run / "analysis" / "flow_field" / "flow_field.png").convert("RGB")
    w, h = figure.size
    return tall(figure.crop((round(0.5138 * w), round(0.0818 * h), round(0.9187 * w), round(0.8708 * h))))


def tall(picture: Image.Image) -> Image.Image:
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("digits", type=Path, help="a finished run of vgrow_mnist5k")
    parser.add_argument("ring", type=Path, help="a finished run of vgrow_ring8")
    parser.add_argument("report", type=Path, help="a picture of the head of its report")
    options = parser.parse_args()

    panels = [(f"digits, step {step}", digits(options.digits, step)) for step in STEPS]
    panels += [("particles follow the flow", flow(options.ring))]
    panels += [("gflow report", tall(Image.open(options.report).convert("RGB")))]
    width = sum(panel.width for _, panel in panels) + GAP * (len(panels) + 1)
    banner = Image.new("RGB", (width, HEIGHT + CAPTION + GAP), "white")
    draw, font = ImageDraw.Draw(banner), ImageFont.load_default(size=20)
    x = GAP
    for text, panel in panels:
        draw.text((x, CAPTION // 2), text, fill="#333333", font=font, anchor="lm")
        banner.paste(panel, (x, CAPTION))
        x += panel.width + GAP
    banner.quantize(COLOURS, dither=Image.Dither.NONE).save(BANNER, optimize=True)


if __name__ == "__main__":
    main()
