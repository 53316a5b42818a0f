// The subcommands. Each function adds one to the program; its callback runs after the command line
// was read and ends with exit code 0, throws Error (one line, exit code 1) or Interrupted (exit
// code 130).
#pragma once

#include <CLI/CLI.hpp>

namespace hypenet {

void add_convert_command(CLI::App& app);
void add_train_command(CLI::App& app);
void add_recipe_command(CLI::App& app);
void add_sweep_command(CLI::App& app);
void add_select_command(CLI::App& app);
void add_data_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_tokenize_command(CLI::App& app);
void add_generate_command(CLI::App& app);
void add_chat_command(CLI::App& app);
void add_serve_command(CLI::App& app);
void add_logits_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_compare_command(CLI::App& app);
void add_report_command(CLI::App& app);
void add_quantize_command(CLI::App& app);
void add_export_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_doctor_command(CLI::App& app);
void add_completions_command(CLI::App& app);

}  // namespace hypenet
