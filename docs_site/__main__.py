"""Builds the site, or ends with what is wrong in its pages: `python -m docs_site [FOLDER]`."""

import shutil
import subprocess
import sys
from pathlib import Path

from docs_site.descriptors import described
from docs_site.errors import errors_page
from docs_site.metrics import metrics_page
from docs_site.navigation import configuration
from docs_site.pages import lay_out
from docs_site.reference import reference_pages

ROOT = Path(__file__).parents[1]
STRICT = "--strict"  # a link or an anchor that leads nowhere ends the build


def prepare(folder: Path) -> None:
    """Lays out in `folder` all that the site is built of."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "pages"
    lay_out(ROOT, pages)
    files = described(ROOT / "protos")
    made = {**reference_pages(files), "reference/errors.md": errors_page(files), "reference/metrics.md": metrics_page()}
    for name, text in made.items():
        page = pages / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text)
    (folder / "zensical.toml").write_text(configuration(pages))


def build(folder: Path, site: Path) -> int:
    """The exit code of the build; the site is in `site` when it is 0."""
    prepare(folder)
    failed = subprocess.run([sys.executable, "-m", "zensical", "build", "--clean", STRICT], cwd=folder, check=False).returncode
    if not failed:
        shutil.rmtree(site, ignore_errors=True)
        shutil.move(folder / "site", site)
    return failed


def main() -> int:
    site = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site"
    failed = build(ROOT / "build" / "docs", site)
    if not failed:
        print(f"open {site / 'index.html'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
