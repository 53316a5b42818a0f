# What tools/check_style accepts and what it reports, on small git trees made for each test.
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools/check_style"


class CheckStyle(unittest.TestCase):
    def run_on(self, name, text):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            subprocess.run(["git", "init", "-q", root], check=True)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
            done = subprocess.run([sys.executable, TOOL, root], capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr

    def assert_passes(self, name, text):
        self.assertEqual(self.run_on(name, text), (0, "style: 1 files\n"))

    def assert_reports(self, line, what, name, text):
        self.assertEqual(self.run_on(name, text), (1, f"{name}:{line}: {what}\n"))

    def test_a_plain_source_passes(self):
        self.assert_passes("src/ops/norm.cpp", '// Norms.\n#include "ops/norm.h"\n\nint one() { return 1; }\n')

    def test_a_file_opens_with_a_comment_of_at_most_three_lines(self):
        self.assert_reports(1, "the file does not open with a comment that says what it holds",
                            "src/ops/norm.cpp", "#include <vector>\n")
        self.assert_reports(1, "the opening comment has 4 lines, at most 3", "src/ops/norm.cpp", "// a\n" * 4 + "int x;\n")
        self.assert_passes("scripts/go", "#!/bin/sh\n# Goes.\n")

    def test_headers_have_pragma_once(self):
        self.assert_reports(1, "the header has no #pragma once", "src/ops/norm.h", "// Norms.\nint one();\n")

    def test_files_have_at_most_500_lines(self):
        self.assert_passes("src/ops/norm.cpp", "// Norms.\n" + "\n" * 499)
        self.assert_reports(1, "501 lines, at most 500", "src/ops/norm.cpp", "// Norms.\n" + "\n" * 500)

    def test_functions_have_at_most_60_lines(self):
        def function(lines):  # in a class in a namespace, with braces where a naive count goes wrong
            body = ['    if (x) { y = "}"; }  // }', "    f([&] { return '}'; });"]
            return "\n".join(["// Norms.", "namespace a {", "struct B {", "  int f(int x) const {", *body,
                              *["    ++x;"] * (lines - 4), "  }", "};", "}  // namespace a", ""])
        self.assert_passes("src/ops/norm.cpp", function(60))
        self.assert_reports(4, "a function of 61 lines, at most 60", "src/ops/norm.cpp", function(61))
        self.assert_passes("src/kernels/norm.cpp", function(150))

    def test_long_tables_and_classes_are_no_functions(self):
        self.assert_passes("src/ops/norm.cpp", "// Norms.\nint table[] = {\n" + "  1,\n" * 70 + "};\n")
        self.assert_passes("src/ops/norm.cpp", "// Norms.\nclass A {\n" + "  int f();\n" * 70 + "};\n")

    def test_prose_has_at_most_120_columns(self):
        self.assert_passes("docs/a.md", "word " * 23 + "words\n| " + "cell " * 40 + "|\n")
        self.assert_reports(1, "a line of 121 characters, at most 120", "docs/a.md", "word " * 23 + "words.\n")

    def test_work_to_do_names_its_issue(self):
        mark = "TO" + "DO"
        self.assert_reports(2, "work to do is an issue: name its number as in (#12)",
                            "src/ops/norm.cpp", f"// Norms.\n// {mark}: faster\n")
        self.assert_passes("src/ops/norm.cpp", f"// Norms.\n// {mark}(#12): faster\n")

    def test_names_that_say_nothing_are_banned(self):
        self.assert_reports(1, "a file or folder named util, helper, manager, common, misc, new or v2 says nothing",
                            "src/ops/norm_utils.cpp", "// Norms.\n")
        self.assert_reports(2, "the name NormHelper says nothing: util, helper, manager, common, misc are banned",
                            "src/ops/norm.cpp", "// Norms.\nstruct NormHelper {};\n")
        self.assert_passes("src/ops/newton.cpp", "// Newton.\nstruct Commonness {};\n")

    def test_paths_of_one_machine_are_reported(self):
        for path in ("/wo" + "rk/main", "/tm" + "p/x", "/ho" + "me/me"):
            self.assert_reports(2, f"a path of one machine: {path[:path.index('/', 1)]}", "README.md", f"# A\nsee {path}\n")
        self.assert_passes("README.md", "# A\nout/work/x, ~/home/x, $HOME/tmp/x\n")

    def test_package_hosts_are_reported(self):
        self.assert_reports(1, "the name of a package host", "README.md", "from py" + "pi.org\n")

    def test_only_cli_prints_exits_or_reads_the_environment(self):
        for call, said in (("std::cout << 1", "std::cout"), ('printf("x")', "printf"), ("std::exit(1)", "std::exit"),
                           ('getenv("X")', "getenv")):
            source = f"// Norms.\nvoid f() {{ {call}; }}\n"
            self.assert_reports(2, f"{said}: only src/cli prints, exits or reads the environment",
                                "src/ops/norm.cpp", source)
            self.assert_passes("src/cli/norm.cpp", source)
        self.assert_passes("src/ops/norm.cpp", '// printf(1)\nvoid f() { g("exit(1)"); snprintf(x); on_exit(); }\n')

    def test_using_namespace_std_is_reported(self):
        self.assert_reports(2, "using namespace std", "src/ops/norm.cpp", "// Norms.\nusing namespace std;\n")


if __name__ == "__main__":
    unittest.main()
