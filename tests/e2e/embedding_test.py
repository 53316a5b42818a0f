"""The example of docs/embedding.md, as a user has it: hypenet is installed, the example built against it and run."""
import argparse
import re
import shutil
import subprocess
from pathlib import Path

PROMPT = "The sun"


def run(*command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def block(text, language):
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"expected one block of {language}, found {len(found)}"
    return found[0]


def main():
    parser = argparse.ArgumentParser()
    for name in ["cmake", "source", "build"]:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--launcher", default="")  # ccache, where there is one
    arguments = parser.parse_args()

    # One folder for all runs, made anew: its paths are the compiler cache's keys.
    folder = arguments.build / "embedding"
    shutil.rmtree(folder, ignore_errors=True)
    app, prefix = folder / "app", folder / "prefix"
    app.mkdir(parents=True)
    text = (arguments.source / "docs/embedding.md").read_text(encoding="utf-8")
    (app / "main.cpp").write_text(block(text, "cpp"), encoding="utf-8")
    (app / "CMakeLists.txt").write_text(block(text, "cmake"), encoding="utf-8")

    run(arguments.cmake, "--install", arguments.build, "--prefix", prefix, "--component", "cpu")
    run(arguments.cmake, "-S", app, "-B", app / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER_LAUNCHER={arguments.launcher}")
    run(arguments.cmake, "--build", app / "build")
    model = arguments.source / "models/tiny-teacher"
    answer = run(app / "build/app", model, PROMPT)
    expected = run(arguments.build / "hypenet", "generate", model, "--prompt", PROMPT, "--tokens", 40, "--temperature", 0.8,
                   "--top-p", 0.95, "--seed", 1, "--dtype", "float32")
    assert answer.strip(), "expected an answer, found none"
    assert answer == expected, f"expected {expected!r}, found {answer!r}"
    missing = subprocess.run([str(app / "build/app"), str(folder), PROMPT], capture_output=True, text=True)
    assert missing.returncode == 1 and "config.json" in missing.stderr, missing
    print(answer)


if __name__ == "__main__":
    main()
