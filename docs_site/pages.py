"""The pages that people wrote, laid out as the site has them, with links that lead where things are there."""

import os.path
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# What stands elsewhere than in docs/, and where the site has it.
_OUTSIDE = {
    "README.md": "index.md",
    "verify/README.md": "verifier.md",
    "protos/c360": "reference/index.md",
    "docs/decisions": "decisions/index.md",
    "docs/runbooks": "runbooks/index.md",
}
_LINK = re.compile(r"(!?)\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|#")


def lay_out(root: Path, pages: Path) -> None:
    """Copies all pages and images of `root` into `pages`."""
    homes = _homes(root)
    for source, page in homes.items():
        target = pages / page
        if (root / source).is_dir():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".md":
            target.write_text(_linked((root / source).read_text(), source, homes, root))
        else:
            shutil.copyfile(root / source, target)
    shutil.copytree(Path(__file__).with_name("assets"), pages / "assets")
    with (pages / "decisions" / "index.md").open("a") as index:
        index.write("\n" + "\n".join(f"- [{title_of(page)}]({page.name})" for page in decisions(pages)) + "\n")


def decisions(pages: Path) -> list[Path]:
    return sorted((pages / "decisions").glob("[0-9]*.md"))


def title_of(page: Path) -> str:
    """Its first heading."""
    return next(line.removeprefix("# ") for line in page.read_text().splitlines() if line.startswith("# "))


def _homes(root: Path) -> dict[str, str]:
    """Where the site has each file (and folder that is linked to), by where the repository has it."""
    written = (path.relative_to(root) for path in sorted((root / "docs").rglob("*")) if path.is_file())
    homes = {str(path): str(path.relative_to("docs")).replace("README.md", "index.md") for path in written}
    clients = sorted(root.glob("clients/*/README.md"))
    homes |= {str(path.relative_to(root)): f"clients/{path.parent.name}.md" for path in clients}
    return homes | _OUTSIDE


def _linked(text: str, source: str, homes: dict[str, str], root: Path) -> str:
    def relinked(found: re.Match[str]) -> str:
        mark, label, address = found.groups()
        return found.group() if _ELSEWHERE.match(address) else _link(mark, label, address, source, homes, root)

    return "".join(part if is_code else _LINK.sub(relinked, part) for is_code, part in _parts(text))


def _link(mark: str, label: str, address: str, source: str, homes: dict[str, str], root: Path) -> str:
    """A link to a file that the site doesn't have says where the repository has it."""
    path, hash_, anchor = address.partition("#")
    target = os.path.normpath(PurePosixPath(source).parent / path)
    if target in homes:
        here = PurePosixPath(homes[source]).parent
        return f"{mark}[{label}]({os.path.relpath(homes[target], here)}{hash_}{anchor})"
    if (root / target).exists():
        return f"{label} (`{target}`)"
    return f"{mark}[{label}]({address})"  # the build finds it


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    """Code, in which nothing is a link, and what stands between."""
    end = 0
    for code in _FENCE.finditer(text):
        yield False, text[end : code.start()]
        yield True, code.group()
        end = code.end()
    yield False, text[end:]
