// What `hypenet doctor` looks at, and what follows from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "cli/cuda_driver.h"

namespace hypenet {

struct MachineFacts {
  std::string processor = {};           // its name
  std::set<std::string> features = {};  // as Linux names them: "avx2", "avx512_vnni"
  int64_t all_cores = 0;                // physical ones of the machine
  int64_t cores = 0;                    // those that this process may use
  int64_t threads = 0;                  // of arithmetic
  std::string omp_num_threads = {};     // the environment's; empty: none
  int64_t memory = 0;                   // bytes of the machine
  int64_t available_memory = 0;         // to this process

  std::string torch_expected = {}, torch_found = {};  // versions
  std::string torch_folder = {};
  bool computes = true;  // libtorch multiplies two matrices right

  bool has_kernels = false;     // device code
  bool torch_has_cuda = false;  // libtorch can use a GPU
  bool has_parquet = false, has_xgrammar = false;
  CudaDriver driver = {};
};

/// What files of Linux under `root` say: processor, features, all_cores, memory.
MachineFacts read_machine(const std::filesystem::path& root);

struct Finding {
  enum class Kind { kNote, kSlow, kBroken } kind = Kind::kNote;
  std::string text = {};
};

/// What a user should know, the worst first.
std::vector<Finding> find_faults(const MachineFacts& facts);

/// "AVX2, AVX-512, VNNI; no AMX".
std::string instruction_sets(const MachineFacts& facts);

}  // namespace hypenet
