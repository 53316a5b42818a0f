# What tools/check_links accepts and what it reports, on small trees made for each test.
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools/check_links"


class CheckLinks(unittest.TestCase):
    def run_on(self, files):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            subprocess.run(["git", "init", "-q", root], check=True)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            done = subprocess.run([sys.executable, TOOL, root], capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr

    def assert_passes(self, files):
        pages = sum(name.endswith(".md") for name in files)
        self.assertEqual(self.run_on(files), (0, f"links: {pages} pages\n"))

    def assert_reports(self, lines, files):
        self.assertEqual(self.run_on(files), (1, "".join(line + "\n" for line in lines)))

    def test_links_that_lead_somewhere_pass(self):
        self.assert_passes({
            "README.md": "# A\n[b](docs/b.md#what-it-does-at-1m), [c](src/c.h), [folder](src), [web](https://a.b/c)\n"
                         "![picture](docs/b%20c.svg), [here](#a) and [over a\nline](docs/b.md \"title\")\n",
            "docs/b.md": "## What `it` does, at 1M?\n[up](../README.md)\n## [Link](b.md)\n[self](#link)\n",
            "docs/b c.svg": "<svg/>", "src/c.h": "",
        })

    def test_code_holds_no_links(self):
        self.assert_passes({"README.md": "# A\n    f[0](gone.md)\n\n    g[0](gone.md)\n\n`h[0](gone.md)`\n"
                                         "```\n[i](gone.md)\n```\n"})

    def test_files_that_are_not_there(self):
        self.assert_reports(["README.md:3: a link to what is not there: docs/gone.md",
                             "README.md:4: a link to what is not there: gone.svg",
                             "README.md:5: a link out of the repository: ../x.md"],
                            {"README.md": "# A\n\n[b](docs/gone.md)\n<img src=\"gone.svg\">\n- [x](../x.md)\n"})

    def test_a_link_in_a_list_and_behind_code_is_seen(self):
        self.assert_reports(["README.md:3: a link to what is not there: b.md", "README.md:7: a link to what is not there: c.md"],
                            {"README.md": "- item\n\n    [b](b.md)\n\ntext\n\n[c](c.md)\n"})

    def test_headings_that_are_not_there_or_there_twice(self):
        self.assert_reports(["README.md:1: no heading of that name: b.md#gone", "README.md:1: 2 headings of that name: b.md#two"],
                            {"README.md": "[x](b.md#gone) [y](b.md#two)\n", "b.md": "# Two\n# Two\n"})

    def test_what_git_ignores_is_not_there(self):
        self.assert_reports(["README.md:1: a link to what is not there: out/a.md"],
                            {"README.md": "[x](out/a.md)\n", "out/a.md": "", ".gitignore": "/out/\n"})

    def test_every_page_is_in_the_index(self):
        self.assert_reports(["docs/index.md:1: docs/c/d.md is in no list"],
                            {"docs/index.md": "- [b](b.md)\n", "docs/b.md": "# B\n", "docs/c/d.md": "# D\n"})


if __name__ == "__main__":
    unittest.main()
