"""Makes the site that ``asv publish`` writes work without a network, and the ids of cases legible on it.

asv's page asks content delivery networks for its scripts and styles. Unchanged copies of them lie in ``assets``, whose
``index.toml`` says for each address which file stands in for it, and where that file is from.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import tomllib
from collections.abc import Mapping
from html import escape, unescape
from pathlib import Path

from tnbench.core.errors import TnbenchError

ASSETS = Path(__file__).parent / "assets"
FOLDER = "vendor"
STYLE, SCRIPT = "legible.css", "bars.js"

_TAG = re.compile(r"<(?:script|link|img)\b[^>]*>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\s+([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
_REMOTE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_REMOTE_IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^\s"')]+)""", re.IGNORECASE)
_HEAD_END = re.compile(r"(?=</head>)", re.IGNORECASE)


def make_offline(html_dir: Path) -> None:
    """Let the pages of a published site load nothing but files beside them; links that a reader may follow stay.

    The copies go to ``html_dir/vendor`` with their licences. Doing it again changes nothing. Raises TnbenchError where
    there is no page, or where one loads an address that tnbench has no copy of; then nothing was written.
    """
    index = vendored()
    copies = {copy["url"]: copy["file"] for copy in index}
    texts = {page: page.read_text(encoding="utf-8") for page in html_dir.glob("*.html")}
    if not texts:
        raise TnbenchError(f"{html_dir} holds no page; write it first with: tnbench history --no-serve")
    for style in html_dir.glob("*.css"):
        for address in _REMOTE_IN_STYLE.findall(style.read_text(encoding="utf-8")):
            raise _no_copy(address)
    pages = {page: _styled(_TAG.sub(lambda tag: _local(tag[0], copies), text)) for page, text in texts.items()}
    for name in (STYLE, SCRIPT, *(copy[key] for copy in index for key in ("file", "licence_file"))):
        (html_dir / FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ASSETS / name, html_dir / FOLDER / name)
    for page, text in pages.items():
        page.write_text(text, encoding="utf-8")


def vendored() -> list[dict[str, str]]:
    """What ``assets/index.toml`` says of each copy: its url and file, where it is from, its hash and its licence."""
    copies: list[dict[str, str]] = tomllib.loads((ASSETS / "index.toml").read_text(encoding="utf-8"))["copy"]
    return copies


def _local(tag: str, copies: Mapping[str, str]) -> str:
    """The tag with a local address, and without what only matters to a remote one."""
    found = {match[1].lower(): unescape(match[2] or match[3] or match[4] or "") for match in _ATTRIBUTE.finditer(tag)}
    address = found.get("href" if tag.lower().startswith("<link") else "src", "")
    if not _REMOTE.match(address):
        return tag
    if address not in copies:
        raise _no_copy(address)
    file = copies[address]

    def attribute(match: re.Match[str]) -> str:
        name = match[1].lower()
        if name in ("src", "href"):
            return f' {match[1]}="{FOLDER}/{escape(file)}"'
        kept = name not in ("crossorigin", "referrerpolicy") and (name != "integrity" or _agrees(found[name], file))
        return match[0] if kept else ""

    return _ATTRIBUTE.sub(attribute, tag)


def _agrees(integrity: str, file: str) -> bool:
    """Whether the file has the hash that the page demands: minified and plain scripts differ."""
    algorithm, _, wanted = integrity.partition("-")
    return base64.b64encode(hashlib.new(algorithm, (ASSETS / file).read_bytes()).digest()).decode() == wanted


def _styled(text: str) -> str:
    """The page with our style and script at the end of its head, where it loads any of the copies."""
    ours = f'<link href="{FOLDER}/{STYLE}" rel="stylesheet">\n    <script src="{FOLDER}/{SCRIPT}"></script>\n  '
    wanted = f'"{FOLDER}/' in text and ours not in text
    return _HEAD_END.sub(ours, text, count=1) if wanted else text


def _no_copy(address: str) -> TnbenchError:
    return TnbenchError(
        f"the site loads {address}, of which tnbench has no copy, so it would not work offline; "
        "tnbench knows the site of asv 0.6.6: pip install 'asv==0.6.6'"
    )
