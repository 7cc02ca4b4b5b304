"""What the site does to a page that GitHub does by itself: formulas as MathML, code in colours, parts as links."""

from __future__ import annotations

import ast
import html
import re
import tomllib
from collections import Counter

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

from gflow_core.parts.plugins import plugins

_BESIDE = {"README": "index", "CONTRIBUTING": "contributing", "CHANGELOG": "changelog"}
"""Files of the repository's root -> the pages that they are here."""

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_OPERATOR = re.compile(r'<mi>(log|exp|sin|cos|tanh|max|min|det)</mi>((?:<mo stretchy="false">&#x00028;)?)')
_LIMITS = re.compile(r"<msub>(<mo>(?:max|min|sup|inf)</mo>(?:<mi>[^<]*</mi>|<mrow>(?:(?!</?mrow>).)*</mrow>))</msub>")
_PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<m[io]>(&#x0203[2-4];)</m[io]></msup>")
_BLOCK = re.compile(
    r'<div class="(?:language-text )?highlight"><pre><span></span><code>(.*?)</code></pre></div>', re.DOTALL
)
_CODE = re.compile(r"<(a|pre|h[1-6])\b.*?</\1>|<code>([a-z0-9_]+\.[a-z0-9_]+)</code>", re.DOTALL)
_SHELL = re.compile(
    r"for .+; do$|(\S*/)?(gflow|make|pip|python|pytest|source|nohup|eval|torchrun|accelerate|srun|sbatch)\s|\w+=",
    re.MULTILINE,
)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page's Markdown, as it stands on the site (an event of mkdocs)."""
    if page.is_homepage:
        page.meta.setdefault("hide", ["navigation"])  # a column that would hold one line
    up = "../" * page.file.src_uri.count("/")
    for name, here in _BESIDE.items():
        markdown = re.sub(rf"\]\((\.\./)+{name}\.md", f"]({up}{here}.md", markdown)
    return markdown


def on_page_content(page_html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page's HTML, finished (an event of mkdocs)."""
    page_html = _FORMULA.sub(lambda found: mathml(html.unescape(found[2]), found[1] == "div"), page_html)
    page_html = _BLOCK.sub(lambda found: coloured(html.unescape(found[1])), page_html)
    return _CODE.sub(lambda found: linked(found[0], found[2], page), page_html)


def mathml(latex: str, block: bool) -> str:
    r"""A formula as MathML, which needs no script. latex2mathml leaves \Big, \!, primes and the space round \log."""
    text = convert(latex.strip(), display="block" if block else "inline")
    text = re.sub(r"(<mo [^>]*>)\\([{}])</mo>", r"\1\2</mo>", text).replace(r">\Vert</mo>", ">&#x2016;</mo>")
    text = text.replace('"negativethinmathspace"', '"-0.167em"')
    # As a superscript a prime would be raised twice: its glyph stands high already.
    text = _PRIME.sub(r"\1<mo lspace='0' rspace='0'>\2</mo>", text)
    if block:
        text = _LIMITS.sub(r"<munder>\1</munder>", text)
    space = "<mo lspace='0.167em' rspace='{}'>{}</mo>".format
    return _OPERATOR.sub(lambda found: space("0" if found[2] else "0.167em", found[1]) + found[2], text)


def coloured(code: str) -> str:
    """A block of code whose language is not said, in the colours of the one that it is sure to be; messages wrap."""
    language = guess(code)
    if language == "text":
        wide = " wraps" if re.search("^error: ", code, re.MULTILINE) and "──" not in code else ""
        return f'<div class="highlight{wide}"><pre><code>{html.escape(code, quote=False)}</code></pre></div>'
    body = highlight(code, get_lexer_by_name(language), HtmlFormatter(nowrap=True))
    return f'<div class="language-{language} highlight"><pre><span></span><code>{body}</code></pre></div>'


def guess(code: str) -> str:
    """bash, toml, python or text."""
    if _SHELL.match(code) and not re.match(r"\w+ = ", code):
        return "bash"
    try:
        tomllib.loads(code)
        return "toml"
    except tomllib.TOMLDecodeError:
        pass
    try:
        ast.parse(code)
    except SyntaxError:
        return "text"
    return "python" if re.search(r"^\s*(from|import|def|class|@)\b|\w\(", code, re.MULTILINE) else "text"


def linked(whole: str, name: str | None, page: Page) -> str:
    """The code `plugin.part`, linked to its reference where one kind has a part of that name."""
    if name not in _PLACES or page.url.startswith("reference/"):
        return whole
    return f'<a href="{get_relative_url(f"reference/{_PLACES[name]}s.html", page.url)}#{name}">{whole}</a>'


_NAMES = [(name, kind) for kind, registry in plugins().registries.items() for name in registry]
_COUNT = Counter(name for name, _ in _NAMES)
_PLACES = {name: kind for name, kind in _NAMES if _COUNT[name] == 1}
