"""The program as it is installed (cmake --install) and as its packages bring it, with a torch wheel that a variable or a
file names: man page, completions, launcher."""
import argparse
import os
import pty
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

PROMPT = ["--prompt", "The sun", "--tokens", "12"]


def run(*command, code=0, **options):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if result.returncode != code:
        raise SystemExit(f"{' '.join(map(str, command))}: {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stderr if code else result.stdout


def check_completions(share):
    bash = share / "bash-completion/completions/hypenet"
    script = f'source {bash}; COMP_WORDS=(hypenet exp) COMP_CWORD=1; _hypenet; echo "${{COMPREPLY[@]}}"'
    assert run("bash", "-c", script) == "export\n"
    zsh, fish = share / "zsh/vendor-completions/_hypenet", share / "fish/vendor_completions.d/hypenet.fish"
    for shell, file in {"zsh": zsh, "fish": fish}.items():
        assert file.stat().st_size > 1000, file
        if not shutil.which(shell):
            print(f"no {shell} here (scripts/setup --tests installs it): its completions are not tried")
            continue
        run(shell, "-n", file)
        complete = zsh_completes if shell == "zsh" else fish_completes
        for typed, line in {"exp": "export", "bench swe": "bench sweep", "convert --reci": "convert --recipe"}.items():
            assert complete(share, f"hypenet {typed}") == f"hypenet {line}", (shell, typed)


def fish_completes(share, typed):
    """`typed` with its last word completed, where there is one way."""
    file = share / "fish/vendor_completions.d/hypenet.fish"
    listed = run("fish", "--no-config", "-c", f"source {file}; complete -C '{typed}'", env={**os.environ, "HOME": str(share)})
    word, = {line.split("\t")[0] for line in listed.splitlines()}
    return " ".join([*typed.split()[:-1], word])


def zsh_completes(share, typed):
    """What stands on an interactive zsh's line behind a Tab."""
    told = share / "line"
    setup = (f"fpath=({share}/zsh/vendor-completions $fpath); autoload -U compinit; compinit -u -D; "
             f"told() {{ zle complete-word; print -r -- $BUFFER >{told} }}; zle -N told; bindkey '^T' told\r")
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], {"PATH": os.environ["PATH"], "HOME": str(share), "TERM": "dumb"})
    os.write(terminal, f"{setup}{typed}\x14".encode())
    until = time.monotonic() + 30
    while not (told.exists() and told.read_text(encoding="utf-8")) and time.monotonic() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            os.read(terminal, 4096)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(terminal)
    line = told.read_text(encoding="utf-8")
    told.unlink()
    return line.strip()


def check_man_page(share):
    page = share / "man/man1/hypenet.1"
    assert page.exists() or not shutil.which("help2man"), page
    if page.exists():
        text = page.read_text(encoding="utf-8")
        assert text.startswith(".\\\" DO NOT MODIFY") and "convert" in text and "SYNOPSIS" in text, text[:400]


def check_installed(arguments, prefix, answer):
    for component in ["program", "documents"]:
        run(arguments.cmake, "--install", arguments.build, "--prefix", prefix, "--component", component)
    assert run(prefix / "bin/hypenet", "generate", prefix / "share/hypenet/models/tiny-teacher", *PROMPT) == answer
    check_completions(prefix / "share")
    check_man_page(prefix / "share")


def check_launcher(folder, torch, answer):
    """An unpacked package knows no folder of the build."""
    program, home = folder / "bin/hypenet", folder / "home"
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
    model = folder / "share/hypenet/models/tiny-teacher"

    error = run(program, "--version", code=1, env={**bare, "PATH": str(without_python(folder))})
    assert error.startswith("hypenet: libtorch: expected HYPENET_TORCH, or a line") and error.count("\n") == 1, error
    error = run(program, "--version", code=1, env={**bare, "HYPENET_TORCH": "/nowhere"})
    assert error.startswith("hypenet: HYPENET_TORCH: expected a folder with lib/libtorch_cpu.so"), error
    assert run(program, "generate", model, *PROMPT, env={**bare, "HYPENET_TORCH": str(torch)}) == answer
    (folder / "etc").mkdir()
    (folder / "etc/hypenet.conf").write_text(f"# where pip put it\n torch = {torch}\n", encoding="utf-8")
    assert run(program, "generate", model, *PROMPT, env=bare) == answer
    assert str(torch.resolve()) in run(program, "doctor", env=bare)
    (home / ".config").mkdir(parents=True)
    (home / ".config/hypenet.conf").write_text("torch = /elsewhere\n", encoding="utf-8")
    error = run(program, "--version", code=1, env=bare)
    assert f"{home}/.config/hypenet.conf: torch: expected a folder" in error, error


def without_python(folder):
    """A folder of what the launcher runs but python3."""
    bin_folder = folder / "without-python"
    bin_folder.mkdir()
    for name in ["readlink", "sed", "tail"]:
        (bin_folder / name).symlink_to(shutil.which(name))
    return bin_folder


def check_needed(program):
    """The program asks for libtorch and what every Debian has; all else is in it or beside it."""
    header = run("objdump", "-p", program)
    needed = {line.split()[1] for line in header.splitlines() if line.strip().startswith("NEEDED")}
    known = ("libtorch", "libc10", "libgomp", "libstdc++", "libm.", "libgcc_s", "libc.", "ld-linux", "libprometheus")
    assert all(name.startswith(known) for name in needed), needed


def check_packages(arguments, folder, torch, answer):
    run(arguments.cmake, "--build", arguments.build, "--target", "hypenet", "portable")
    is_debian = shutil.which("dpkg-shlibdeps") and shutil.which("file")
    run(arguments.cpack, "-G", "DEB;TGZ" if is_debian else "TGZ", "-B", folder / "package", cwd=arguments.build)
    archive, = (folder / "package").glob("*.tar.gz")
    run("tar", "-xzf", archive, "-C", folder)
    unpacked = next(path for path in folder.iterdir() if path.name.startswith("hypenet-"))
    check_needed(unpacked / "lib/hypenet/hypenet")
    check_launcher(unpacked, torch, answer)
    if is_debian:
        check_debian_package(folder)


def check_debian_package(folder):
    package, = (folder / "package").glob("*.deb")
    depends = run("dpkg-deb", "--field", package, "Depends")
    assert "libc6" in depends and "libstdc++6" in depends, depends
    assert not any(name in depends for name in ["torch", "arrow", "pcre", "edit", "prometheus"]), depends
    names = run("dpkg-deb", "--contents", package)
    for name in ["./usr/bin/hypenet", "./usr/lib/hypenet/hypenet", "./usr/share/doc/hypenet/third-party.txt"]:
        assert f"{name}\n" in names, name


def main():
    parser = argparse.ArgumentParser()
    for name in ["cmake", "cpack", "source", "build", "torch"]:
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    folder = arguments.build / "installed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.environ.pop("HYPENET_TORCH", None)
    answer = run(arguments.build / "hypenet", "generate", arguments.source / "models/tiny-teacher", *PROMPT)
    assert answer.strip()
    check_installed(arguments, folder / "prefix", answer)
    check_packages(arguments, folder, arguments.torch, answer)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
