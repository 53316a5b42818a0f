# README's picture has the figures that stand in docs/.
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class FrontPicture(unittest.TestCase):
    def test_it_is_drawn_of_the_figures_of_the_pages(self):
        done = subprocess.run([sys.executable, ROOT / "tools/draw_front_picture.py", "--check"],
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
