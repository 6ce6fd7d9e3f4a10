"""Makes `sassl.jpg`, the figure in the README: a photograph, a style, T's output, a view, and what differs in it, amplified.

Sources: the photograph is `skimage.data.chelsea` by Stefan van der Walt (CC0), its middle square; the style is a pattern that
`sassl.demo.styles` generates.

    python docs/images/make.py
"""

from __future__ import annotations

from pathlib import Path

from sassl import Stylizer, demo, grids
from sassl._sassl import write_file

OUT = Path(__file__).with_name("sassl.jpg")
PHOTOGRAPH, STYLE, STRENGTH, MOST_BYTES = "chelsea", "ink waves", 0.2, 150_000


def figure() -> bytes:
    """The JPEG's bytes."""
    photo, style = demo.photographs()[PHOTOGRAPH], demo.styles()[STYLE]
    model = Stylizer("lite")
    z = model.encode(style[None])[0]
    full, view = (model.stylize(photo[None], z, strength, strength)[0] for strength in (1.0, STRENGTH))
    shown = {
        "photograph": photo,
        "style": style,
        "full strength: alpha = beta = 1": full,
        f"view: alpha = beta = {STRENGTH}": view,
        f"difference x {grids.GAIN} (gray: no change)": grids.difference(view, photo),
    }
    return grids.jpeg(grids.grid([grids.Row(list(shown.values()), list(shown))]), MOST_BYTES)


if __name__ == "__main__":
    write_file(OUT, figure())
    print(f"{OUT}: {OUT.stat().st_size} bytes")
