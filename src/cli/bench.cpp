// hypenet bench: speed, by subcommands of its own.
#include "cli/bench.h"

#include "cli/commands.h"

namespace hypenet {

void add_bench_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("bench", "measure speed on random numbers");
  command->require_subcommand(1);
  command->footer(
      "Example:\n  hypenet bench train --shape hypenet-2b --stage 2 --device cuda\n"
      "  hypenet bench decode --shape hypenet-2b --context 4096,131072 --device cuda\n"
      "  hypenet bench kernels --device cuda\n"
      "  hypenet bench serve http://127.0.0.1:8080 --clients 64");
  add_bench_decode_command(*command);
  add_bench_kernels_command(*command);
  add_bench_prefill_command(*command);
  add_bench_serve_command(*command);
  add_bench_sweep_command(*command);
  add_bench_train_command(*command);
}

}  // namespace hypenet
