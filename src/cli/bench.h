// The subcommands of `hypenet bench`, each in its own file, and the rates they compare with.
#pragma once

#include <CLI/CLI.hpp>

namespace hypenet {

// Of an H200, measured: bfloat16 products of 8192^3 (FLOP/s), a copy read and written (bytes/s).
inline constexpr double kPeakFlops = 710e12, kPeakBandwidth = 4.3e12;

void add_bench_decode_command(CLI::App& bench);
void add_bench_kernels_command(CLI::App& bench);
void add_bench_prefill_command(CLI::App& bench);
void add_bench_sweep_command(CLI::App& bench);
void add_bench_train_command(CLI::App& bench);

}  // namespace hypenet
