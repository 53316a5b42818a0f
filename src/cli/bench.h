// The subcommands of `hypenet bench`, each in its own file.
#pragma once

#include <CLI/CLI.hpp>

namespace hypenet {

void add_bench_decode_command(CLI::App& bench);
void add_bench_kernels_command(CLI::App& bench);
void add_bench_prefill_command(CLI::App& bench);
void add_bench_serve_command(CLI::App& bench);
void add_bench_sweep_command(CLI::App& bench);
void add_bench_train_command(CLI::App& bench);

}  // namespace hypenet
