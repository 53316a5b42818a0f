// The program: reads the command line, runs one subcommand, turns every failure into one line and
// an exit code.
#include <malloc.h>

#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/usage_error.h"
#include "run/run.h"

namespace hypenet {
namespace {

constexpr int kFailed = 1, kInterrupted = 130;  // 128 + SIGINT, as a shell has it

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

int fail(std::string_view text, int code = kFailed) {
  // Errors of libraries carry stack traces in the lines after the first.
  std::cerr << "hypenet: " << text.substr(0, text.find('\n')) << std::endl;
  return code;
}

/// "PATH: cannot open directory: Permission denied"; libstdc++ has "filesystem error: " before it
/// and the paths in brackets behind.
std::string readable(const std::filesystem::filesystem_error& error) {
  const std::string text = error.what(), reason = error.code().message();
  const size_t begin = text.find("cannot ");
  const bool is_told = begin != std::string::npos && begin < text.find('[');
  const std::string what =
      is_told ? text.substr(begin, text.find(": " + reason, begin) - begin) : "cannot look at it";
  const std::string other = error.path2().empty() ? "" : concat(" (", error.path2().string(), ")");
  return concat(error.path1().string(), ": ", what, other, ": ", reason);
}

void add_commands(CLI::App& app) {
  app.name("hypenet");
  app.footer(kExample);
  app.set_version_flag("--version", concat("hypenet ", version(), " (", source_commit(), ")"));
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
  add_logits_command(app);
  add_eval_command(app);
  add_compare_command(app);
  add_report_command(app);
  add_bench_command(app);
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

/// Allocators of libtorch report exhausted memory in their own words.
bool is_out_of_memory(std::string_view text) {
  return text.find("can't allocate memory") != std::string_view::npos ||
         text.find("out of memory") != std::string_view::npos;
}

int run_and_report(int argc, char** argv) {
  keep_freed_memory();
  try {
    route_interrupts();
    return run(argc, argv);
  } catch (const Interrupted& interrupted) {
    return fail(interrupted.what(), kInterrupted);
  } catch (const std::filesystem::filesystem_error& error) {
    return fail(readable(error));
  } catch (const std::bad_alloc&) {
    return fail("out of memory");
  } catch (const std::exception& error) {
    return fail(is_out_of_memory(error.what()) ? "out of memory" : error.what());
  }
}

}  // namespace
}  // namespace hypenet

int main(int argc, char** argv) { return hypenet::run_and_report(argc, argv); }
