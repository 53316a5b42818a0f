// The program: reads the command line, runs one subcommand, turns every failure into one line and
// an exit code.
#include <malloc.h>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include "base/error.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/failure.h"
#include "cli/interrupt.h"
#include "cli/usage_error.h"
#include "run/run.h"

namespace hypenet {
namespace {

constexpr const char* kExample = R"(Example, from a teacher to text:
  hypenet convert --recipe recipes/tiny.json --out out/tiny
  hypenet inspect out/tiny/model
  hypenet generate out/tiny/model --prompt "The sun" --tokens 40)";

constexpr const char* kWelcome =
    R"(hypenet turns Transformers into hybrid linear-attention models, and runs both. First steps:
  hypenet inspect models/tiny-teacher
  hypenet generate models/tiny-teacher --prompt "The sun" --tokens 40
  hypenet convert --recipe recipes/tiny.json --out out/tiny
hypenet --help lists the commands.)";

void add_commands(CLI::App& app) {
  app.name("hypenet");
  app.footer(kExample);
  app.set_version_flag("--version", concat("hypenet ", version(), " (", source_commit(), ")"));
  app.set_help_all_flag("--help-all", "Print the help of all commands and exit");
  app.require_subcommand(1);
  add_convert_command(app);
  add_train_command(app);
  add_recipe_command(app);
  add_sweep_command(app);
  add_select_command(app);
  add_data_command(app);
  add_inspect_command(app);
  add_tokenize_command(app);
  add_generate_command(app);
  add_chat_command(app);
  add_serve_command(app);
  add_logits_command(app);
  add_eval_command(app);
  add_compare_command(app);
  add_report_command(app);
  add_quantize_command(app);
  add_export_command(app);
  add_bench_command(app);
  add_doctor_command(app);
  add_completions_command(app);
}

/// Who asks nothing is told what there is to ask.
int greet() {
  std::cerr << kWelcome << std::endl;
  return kFailed;
}

int run(int argc, char** argv) {
  if (argc < 2) return greet();
  CLI::App app(
      "HypeNet: turns Transformers into hybrid linear-attention models by HALO, and runs them");
  add_commands(app);
  try {
    app.parse(argc, argv);
    std::cout.flush();
    HYPENET_CHECK(std::cout.good(), "standard output: cannot write");
    return 0;
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::RuntimeError& end) {
    return end.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return fail(usage_error(app, error));
  }
}

/// A training step frees and allocates the same megabytes over and over; giving them back to the
/// system each time costs a tenth of the step in page faults.
void keep_freed_memory() {
  constexpr int kBytes = 1 << 30;
  ::mallopt(M_MMAP_THRESHOLD, kBytes);
  ::mallopt(M_TRIM_THRESHOLD, kBytes);
}

int run_and_report(int argc, char** argv) {
  keep_freed_memory();
  try {
    // A rank stops together with the others, however early it is told.
    if (std::getenv("RANK") != nullptr) interrupt_flag();
    route_interrupts();
    return run(argc, argv);
  } catch (const Interrupted& interrupted) {
    return fail(interrupted.what(), kInterrupted);
  } catch (const std::exception& error) {
    return fail(failure_text(error));
  }
}

}  // namespace
}  // namespace hypenet

int main(int argc, char** argv) { return hypenet::run_and_report(argc, argv); }
