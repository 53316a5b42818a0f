"""Hooks of mkdocs.yml: pages in the order of docs/index.md, CONTRIBUTING.md beside them, and Markdown as GitHub reads it.

Links to files outside of docs/ become links to repo_url where mkdocs.yml names one, else their names.
"""
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
CONTRIBUTING = "CONTRIBUTING.md"
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
ITEM = re.compile(r"(\s*)([-*+]|\d+\.) ")


def on_config(config):
    """A section of the index is a section of the site, each of its items' first links a page."""
    nav = [{"Contents": "index.md"}]
    for line in (ROOT / "docs/index.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            nav.append({line[3:].strip(): []})
        elif match := re.match(r"- \[([^\]]+)\]\(([^)#]+\.md)\)", line):
            target = CONTRIBUTING if match[2] == "../" + CONTRIBUTING else match[2]
            list(nav[-1].values())[0].append({match[1]: target})
    config["nav"] = nav


def on_files(files, config):
    files.append(File.generated(config, CONTRIBUTING, abs_src_path=str(ROOT / CONTRIBUTING)))
    files.append(File.generated(config, "site.css", abs_src_path=str(ROOT / "tools/site/site.css")))


def link_of(page, target, shown, config):
    """A link of a page as the site has it: paths are those of the repository first."""
    if re.match(r"(https?|mailto):|#", target):
        return f"[{shown}]({target})"
    path, mark, fragment = target.partition("#")
    here = "" if page == CONTRIBUTING else posixpath.join("docs", posixpath.dirname(page))
    path = posixpath.normpath(posixpath.join(here, path))
    if path.startswith("docs/") or path == CONTRIBUTING:
        inside = path.removeprefix("docs/")
        return f"[{shown}]({posixpath.relpath(inside, posixpath.dirname(page) or '.')}{mark}{fragment})"
    if config["repo_url"]:
        return f"[{shown}]({config['repo_url'].rstrip('/')}/blob/main/{path}{mark}{fragment})"
    return f"`{shown}`" if re.fullmatch(r"[\w./-]+", shown) else shown


def as_github_reads(text):
    """A list may follow a paragraph without an empty line, and its items are nested by two spaces."""
    lines, fenced = [], False
    for line in text.splitlines():
        if re.match(r"\s*(```|~~~)", line):
            fenced = not fenced
        if not fenced and (match := ITEM.match(line)) and len(match[1]) < 4:
            if lines and lines[-1].strip() and not ITEM.match(lines[-1]) and not lines[-1].startswith((" ", "|", "#")):
                lines.append("")
        lines.append(line)
    return "\n".join(lines) + "\n"


def on_page_markdown(markdown, page, config, files):
    name = page.file.src_uri
    markdown = LINK.sub(lambda match: link_of(name, match[2], match[1], config), markdown)
    return as_github_reads(markdown)


def on_page_content(html, page, config, files):
    """In a cell of a table GitHub reads the bar of `a\\|b` without its backslash, in code too."""
    return re.sub(r"<code>[^<]*</code>", lambda match: match[0].replace("\\|", "|"), html)
