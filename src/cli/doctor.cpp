// hypenet doctor: what the program finds on this machine, what will be slow and why. Its exit code
// is 1 where something is broken.
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>
#include <link.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>
#include <torch/version.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/host_memory.h"
#include "base/json.h"
#include "base/processors.h"
#include "base/readable_bytes.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/failure.h"
#include "cli/machine_facts.h"
#include "data/documents.h"
#include "kernels/device.h"
#include "serve/grammar/constraint.h"

namespace hypenet {
namespace {

/// The path of the loaded libtorch_cpu.so; empty where there is none.
std::filesystem::path torch_library() {
  std::filesystem::path path;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* found) {
        const std::filesystem::path name = info->dlpi_name;
        if (name.filename() != "libtorch_cpu.so") return 0;
        *static_cast<std::filesystem::path*>(found) = name;
        return 1;
      },
      &path);
  return path;
}

/// TORCH_VERSION as the loaded library has it; empty where it does not say.
std::string loaded_version() {
  constexpr std::string_view kName = "TORCH_VERSION=";
  const std::string config = at::show_config();
  const size_t begin = config.find(kName);
  if (begin == config.npos) return "";
  const size_t end = config.find_first_of(", \n", begin);
  return config.substr(begin + kName.size(), end - begin - kName.size());
}

/// A product of small integers, whose sums are exact in every order.
bool multiplies_right() {
  constexpr int64_t kSize = 96;
  const torch::Tensor numbers = torch::arange(kSize * kSize).remainder(7).view({kSize, kSize});
  const torch::Tensor found = torch::mm(numbers.to(torch::kFloat32), numbers.to(torch::kFloat32));
  const torch::Tensor expected = (numbers.unsqueeze(2) * numbers.unsqueeze(0)).sum(1);
  return torch::equal(found, expected.to(torch::kFloat32));
}

MachineFacts examine() {
  MachineFacts facts = read_machine("/");
  use_device({});
  facts.cores = physical_cores();
  facts.all_cores = std::max(facts.all_cores, facts.cores);
  facts.threads = at::get_num_threads();
  if (const char* threads = std::getenv("OMP_NUM_THREADS")) facts.omp_num_threads = threads;
  facts.available_memory = std::min(available_memory(), std::max(facts.memory, int64_t{1}));
  // What pip names 2.11.0+cu130 is 2.11.0 in the headers.
  facts.torch_expected = TORCH_VERSION;
  facts.torch_found = loaded_version();
  facts.torch_folder = torch_library().parent_path().string();
  facts.computes = multiplies_right();
  facts.has_kernels = kernels::has_cuda_kernels();
  facts.has_parquet = has_parquet();
  facts.has_xgrammar = GrammarCompiler::is_built_in();
  facts.driver = find_cuda_driver();
  facts.torch_has_cuda = facts.has_kernels && torch::cuda::is_available();
  return facts;
}

std::string_view word_of(Finding::Kind kind) {
  switch (kind) {
    case Finding::Kind::kNote:
      return "note";
    case Finding::Kind::kSlow:
      return "slow";
    case Finding::Kind::kBroken:
      return "broken";
  }
  return "";
}

std::string yes(bool value) { return value ? "yes" : "no"; }

std::string describe_driver(const CudaDriver& driver) {
  if (!driver.is_there) return "none (no libcuda.so.1)";
  return fmt::format("for CUDA up to {}.{}", driver.version / 1000, driver.version % 1000 / 10);
}

void print_row(std::string_view name, const std::string& text) {
  std::cout << fmt::format("{:<14}{}\n", name, text);
}

void print_facts(const MachineFacts& facts) {
  print_row("hypenet", concat(version(), " (", source_commit(), ")"));
  print_row("libtorch", fmt::format("{}, {}", facts.torch_found, facts.torch_folder));
  print_row("built with",
            fmt::format("device code: {}; Parquet: {}; constrained answers (xgrammar): {}",
                        yes(facts.has_kernels), yes(facts.has_parquet), yes(facts.has_xgrammar)));
  print_row("processor", fmt::format("{}, {} of {} cores, {} threads", facts.processor, facts.cores,
                                     facts.all_cores, facts.threads));
  print_row("", instruction_sets(facts));
  print_row("memory", fmt::format("{}, {} can be taken", readable_bytes(facts.memory),
                                  readable_bytes(facts.available_memory)));
  print_row("NVIDIA driver", describe_driver(facts.driver));
  for (size_t i = 0; i < facts.driver.gpus.size(); ++i) {
    const Gpu& gpu = facts.driver.gpus[i];
    print_row(fmt::format("GPU {}", i),
              fmt::format("{}, {}, compute capability {}.{}", gpu.name, readable_bytes(gpu.bytes),
                          gpu.major, gpu.minor));
  }
}

Json as_json(const MachineFacts& facts, const std::vector<Finding>& found) {
  Json json = {{"version", version()},
               {"source_commit", source_commit()},
               {"libtorch", {{"version", facts.torch_found}, {"folder", facts.torch_folder}}},
               {"device_code", facts.has_kernels},
               {"parquet", facts.has_parquet},
               {"xgrammar", facts.has_xgrammar},
               {"processor", facts.processor},
               {"instruction_sets", instruction_sets(facts)},
               {"all_cores", facts.all_cores},
               {"cores", facts.cores},
               {"threads", facts.threads},
               {"memory_bytes", facts.memory},
               {"available_memory_bytes", facts.available_memory},
               {"cuda_driver", facts.driver.is_there ? Json(facts.driver.version) : Json()},
               {"gpus", Json::array()},
               {"findings", Json::array()}};
  for (const Gpu& gpu : facts.driver.gpus) {
    json["gpus"].push_back({{"name", gpu.name},
                            {"memory_bytes", gpu.bytes},
                            {"compute_capability", concat(gpu.major, '.', gpu.minor)}});
  }
  for (const Finding& finding : found) {
    json["findings"].push_back({{"kind", word_of(finding.kind)}, {"text", finding.text}});
  }
  return json;
}

void print_findings(const std::vector<Finding>& found) {
  std::cout << '\n';
  for (const Finding& finding : found) print_row(word_of(finding.kind), finding.text);
  if (found.empty()) std::cout << "Nothing is wrong, and nothing will be slow.\n";
}

void diagnose(bool is_json) {
  const MachineFacts facts = examine();
  const std::vector<Finding> found = find_faults(facts);
  if (is_json) {
    std::cout << as_json(facts, found).dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    print_facts(facts);
    print_findings(found);
  }
  const bool is_broken = !found.empty() && found.front().kind == Finding::Kind::kBroken;
  if (is_broken) throw CLI::RuntimeError(kFailed);
}

}  // namespace

void add_doctor_command(CLI::App& app) {
  const auto is_json = std::make_shared<bool>(false);
  CLI::App* command =
      app.add_subcommand("doctor", "what is found on this machine, what will be slow and why");
  command->add_flag("--json", *is_json, "print JSON");
  command->footer("The exit code is 1 where something is broken.\n\nExample:\n  hypenet doctor");
  command->callback([is_json] { diagnose(*is_json); });
}

}  // namespace hypenet
