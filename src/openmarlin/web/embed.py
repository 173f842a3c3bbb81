"""The report of a verb within the page, in a frame that is as high as it is."""

from __future__ import annotations

import html
import re

_STYLE = """
body { padding: 4px 2px 12px; max-width: none; background: transparent; }
header, main > header { margin-top: 0; }
.eyebrow, footer, section:has(> #run), section:has(.all) { display: none; }
main { display: flex; flex-direction: column; }
section:has(.plots) { order: 1; }
section:not(:has(.plots)) { order: 2; }
h1 { font-size: clamp(20px, 3vw, 26px); }
.verdict { font-size: 15px; }
.facts { margin-top: 14px; padding-top: 12px; }
section { margin-top: 34px; }
.plot.wide { overflow-x: auto; }
.plot.wide svg { min-width: 600px; }
"""

_GROW = (
    "const page = this.contentDocument.documentElement;"
    "const grow = () => { this.style.height = page.scrollHeight + 'px'; };"
    "grow(); new ResizeObserver(grow).observe(this.contentDocument.body);"
)


def framed(report: str, title: str) -> str:
    """An <iframe> that shows a report.

    What the page says itself, and how the report was made, is left out of it.

    Args:
        report: the whole of a report's HTML.
        title: for those who hear the page.
    """
    page = re.sub("</head>", lambda _: f"<style>{_STYLE}</style></head>", report, count=1)
    return (
        f'<iframe class="report" title="{html.escape(title)}" onload="{html.escape(_GROW)}" '
        f'srcdoc="{html.escape(page)}"></iframe>'
    )
