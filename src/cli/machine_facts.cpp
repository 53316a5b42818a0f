// Each check is a sentence with its reason; which kernels read which instructions stands in
// docs/kernels.md.
#include "cli/machine_facts.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/join.h"
#include "base/readable_bytes.h"

namespace hypenet {
namespace {

using Kind = Finding::Kind;
constexpr int64_t kGibibyte = int64_t{1} << 30;

/// The value of "name : value" in a file of such lines; each time that it comes.
std::vector<std::string> values_of(const std::filesystem::path& file, std::string_view name) {
  std::vector<std::string> values;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(':');
    if (!line.starts_with(name) || colon == line.npos) continue;
    const bool is_all = line.find_first_not_of(" \t", name.size()) == colon;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    if (is_all && begin != line.npos) values.push_back(line.substr(begin));
  }
  return values;
}

bool has(const MachineFacts& facts, const char* feature) {
  return facts.features.contains(feature);
}

bool has_wide_vectors(const MachineFacts& facts) {
  return has(facts, "avx512f") && has(facts, "avx512bw") && has(facts, "avx512dq") &&
         has(facts, "avx512vl");
}

void find_processor_faults(const MachineFacts& facts, std::vector<Finding>& found) {
  const auto slow = [&](const std::string& text) { found.push_back({Kind::kSlow, text}); };
  if (!has(facts, "avx2") || !has(facts, "fma")) {
    slow(
        "the processor has no AVX2 with FMA: the kernels run in their plain form, 4 numbers at a "
        "time");
  } else if (!has_wide_vectors(facts)) {
    slow("the processor has no AVX-512: the kernels take 8 numbers at a time in place of 16");
  }
  if (has_wide_vectors(facts) && !has(facts, "avx512_bf16")) {
    slow("the processor has no AVX-512 BF16: bfloat16 weights are widened before they multiply");
  }
  if (facts.cores < facts.all_cores) {
    found.push_back({Kind::kNote, concat("affinity or a control group leaves ", facts.cores, " of ",
                                         facts.all_cores, " cores to this process")});
  }
  if (facts.threads < facts.cores) {
    slow(concat("OMP_NUM_THREADS is ", facts.omp_num_threads, ": ", facts.threads, " of ",
                facts.cores, " cores compute (--threads changes it for one command)"));
  } else if (facts.threads > facts.cores) {
    slow(concat("OMP_NUM_THREADS is ", facts.omp_num_threads, ": ", facts.threads,
                " threads share ", facts.cores, " cores and wait for one another"));
  }
  if (facts.available_memory < 2 * kGibibyte) {
    slow(concat("only ", readable_bytes(facts.available_memory),
                " of memory can be taken: weights that do not fit are read from the disk again and "
                "again"));
  }
}

void find_torch_faults(const MachineFacts& facts, std::vector<Finding>& found) {
  if (!facts.torch_found.empty() && facts.torch_found != facts.torch_expected) {
    found.push_back(
        {Kind::kBroken, concat("libtorch: expected version ", facts.torch_expected,
                               ", which this program was built with, found ", facts.torch_found)});
  }
  if (!facts.computes) {
    found.push_back({Kind::kBroken,
                     "libtorch: expected a product of two matrices, found other "
                     "numbers"});
  }
}

std::string cuda_version(int version) { return concat(version / 1000, '.', version % 1000 / 10); }

void find_gpu_faults(const MachineFacts& facts, std::vector<Finding>& found) {
  const CudaDriver& driver = facts.driver;
  if (!driver.fault.empty()) {
    found.push_back({facts.has_kernels ? Kind::kBroken : Kind::kNote,
                     concat("NVIDIA's driver is there and does not work: ", driver.fault)});
    return;
  }
  if (!facts.has_kernels) {
    if (!driver.gpus.empty()) {
      found.push_back(
          {Kind::kSlow, "there is a GPU, and this program has no device code: hypenet-cuda has"});
    }
    return;
  }
  if (driver.gpus.empty()) {
    found.push_back({Kind::kNote, "no GPU: --device cuda is refused, all runs on the CPU"});
    return;
  }
  if (!facts.torch_has_cuda) {
    found.push_back(
        {Kind::kBroken, concat("libtorch cannot use the GPU: its CUDA is newer than the driver's ",
                               cuda_version(driver.version),
                               ", or packages that the torch wheel names are "
                               "missing")});
  }
  for (size_t i = 0; i < driver.gpus.size(); ++i) {
    const Gpu& gpu = driver.gpus[i];
    const std::string name = concat("GPU ", i, " (compute capability ", gpu.major, '.', gpu.minor);
    if (gpu.major < 8) {
      found.push_back({Kind::kSlow, name + "): the kernels need 8.0 or later: it is not used"});
    } else if (gpu.major != 9) {
      found.push_back({Kind::kSlow, name + "): it runs the kernels of 8.0, without what those of "
                                           "9.0 have of tensor cores"});
    }
  }
}

}  // namespace

MachineFacts read_machine(const std::filesystem::path& root) {
  MachineFacts facts;
  const auto cpuinfo = root / "proc/cpuinfo";
  const auto names = values_of(cpuinfo, "model name"), flags = values_of(cpuinfo, "flags");
  if (!names.empty()) facts.processor = names.front();
  if (!flags.empty()) {
    std::istringstream words(flags.front());
    for (std::string word; words >> word;) facts.features.insert(word);
  }
  // A core of a package has one id; where Linux tells none, each processor counts.
  const auto packages = values_of(cpuinfo, "physical id"), ids = values_of(cpuinfo, "core id");
  std::set<std::pair<std::string, std::string>> cores;
  for (size_t i = 0; i < std::min(packages.size(), ids.size()); ++i) {
    cores.emplace(packages[i], ids[i]);
  }
  facts.all_cores = std::ssize(cores);
  if (cores.empty()) facts.all_cores = std::ssize(values_of(cpuinfo, "processor"));
  const auto memory = values_of(root / "proc/meminfo", "MemTotal");
  constexpr int64_t kKibibyte = 1024;
  if (!memory.empty()) facts.memory = std::atoll(memory.front().c_str()) * kKibibyte;
  return facts;
}

std::vector<Finding> find_faults(const MachineFacts& facts) {
  std::vector<Finding> found;
  find_torch_faults(facts, found);
  find_gpu_faults(facts, found);
  find_processor_faults(facts, found);
  std::ranges::stable_sort(found, std::greater(), &Finding::kind);
  return found;
}

std::string instruction_sets(const MachineFacts& facts) {
  constexpr std::pair<const char*, const char*> kNames[] = {
      {"avx2", "AVX2"},         {"fma", "FMA"},
      {"avx512f", "AVX-512"},   {"avx512_vnni", "AVX-512 VNNI"},
      {"avx_vnni", "AVX VNNI"}, {"avx512_bf16", "AVX-512 BF16"},
      {"amx_int8", "AMX int8"}, {"amx_bf16", "AMX BF16"}};
  std::vector<std::string> there, missing;
  for (const auto& [feature, name] : kNames) {
    (has(facts, feature) ? there : missing).emplace_back(name);
  }
  std::string text = join(there, ", ");
  if (!missing.empty()) text += concat(there.empty() ? "" : "; ", "no ", join(missing, ", "));
  return text;
}

}  // namespace hypenet
