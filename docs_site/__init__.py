"""The documentation as a site: the pages of `docs/`, those of the packages, and a reference made of the protos, built by Zensical.

`python -m docs_site` lays the pages out in `build/docs` and leaves the site in `site/`. Nothing of it is checked in.
"""
