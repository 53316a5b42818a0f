# What tools/check_layers accepts and what it reports, on small trees made for each test.
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools/check_layers"
TABLES = """
| room | may include |
| --- | --- |
| base | nothing |
| kernels | nothing (kernels/cuda: CUDA) |
| ops | base, kernels, torch |
| text | base |
| cli | base, ops, text, torch |

| header | may be included by |
| --- | --- |
| `nlohmann/` | base/json.h |
| `pcre2` | text |
"""


class CheckLayers(unittest.TestCase):
    def run_on(self, files, cmake="hypenet_room(base)\n"):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            every = {"docs/architecture.md": TABLES, "CMakeLists.txt": cmake, "src/base/json.h": "", "src/ops/norm.h": ""}
            for name, text in (every | files).items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            done = subprocess.run([sys.executable, TOOL, root], capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr

    def assert_passes(self, files, **others):
        self.assertEqual(self.run_on(files, **others), (0, "layers: 5 rooms\n"))

    def assert_reports(self, line, files, **others):
        code, output = self.run_on(files, **others)
        self.assertEqual((code, output), (1, line + "\n"))

    def test_allowed_includes_pass(self):
        self.assert_passes({
            "src/ops/norm.cpp": '#include "ops/norm.h"\n#include <torch/torch.h>\n#include <vector>\n#include "base/json.h"\n',
            "src/base/json.h": "#include <nlohmann/json.hpp>\n",
            "src/text/pattern.cpp": "#include <pcre2.h>\n",
            "src/kernels/cuda/norm.cu": "#include <cuda_runtime.h>\n",
        })

    def test_a_room_below_may_not_include_one_above(self):
        self.assert_reports("src/base/files.cpp:2: base may not include ops (ops/norm.h)",
                            {"src/base/files.cpp": '// Files.\n#include "ops/norm.h"\n'})

    def test_torch_stays_out_of_torch_free_rooms(self):
        for header in ("torch/torch.h", "ATen/ATen.h", "c10/util/Half.h"):
            self.assert_reports(f"src/text/bpe.cpp:1: text may not include torch ({header})",
                                {"src/text/bpe.cpp": f"#include <{header}>\n"})

    def test_a_library_stays_in_its_place(self):
        self.assert_reports("src/base/files.cpp:1: only base/json.h may include nlohmann/json.hpp",
                            {"src/base/files.cpp": "#include <nlohmann/json.hpp>\n"})
        self.assert_reports("src/ops/norm.cpp:1: only text may include pcre2.h",
                            {"src/ops/norm.cpp": "#include <pcre2.h>\n"})

    def test_cuda_headers_stay_in_kernels_cuda(self):
        self.assert_reports("src/kernels/norm.h:1: only kernels/cuda, ops/cuda and ranks/cuda may include CUDA (cuda_runtime.h)",
                            {"src/kernels/norm.h": "#include <cuda_runtime.h>\n"})

    def test_includes_are_written_from_src(self):
        self.assert_reports('src/ops/norm.cpp:1: "norm.h" is not written from src/ (room/file.h)',
                            {"src/ops/norm.cpp": '#include "norm.h"\n'})
        self.assert_reports("src/ops/norm.cpp:1: src/ops/gone.h does not exist",
                            {"src/ops/norm.cpp": '#include "ops/gone.h"\n'})

    def test_a_room_without_a_row_is_reported(self):
        self.assert_reports("src/magic/x.cpp:1: the folder magic/ has no row in docs/architecture.md",
                            {"src/magic/x.cpp": "#include <vector>\n"})

    def test_link_lists_follow_the_table(self):
        self.assert_passes({}, cmake="hypenet_room(ops TORCH LINKS hypenet_base fmt::fmt)\n")
        self.assert_reports("CMakeLists.txt: text may not link ops", {},
                            cmake="hypenet_room(text LINKS hypenet_base hypenet_ops)\n")


if __name__ == "__main__":
    unittest.main()
