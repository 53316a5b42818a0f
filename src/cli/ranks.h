// --ranks: the processes of one job. Started here, one a GPU or share of the CPU, or by a launcher
// that sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cli/device.h"
#include "ranks/process_group.h"

namespace hypenet {

struct RankOptions {
  std::string count = "1";  // "all": one a GPU of this host
  int64_t patience = 1800;  // seconds
};

/// Adds --ranks and --ranks-patience; `options` must outlive the parsing.
void add_rank_options(CLI::App& command, RankOptions& options);

/// Runs this same command as `count` processes on this host and waits for them; returns the exit
/// code. None is left behind.
int start_ranks(int64_t count, const DeviceOptions& device);

/// Runs the work as this process's rank of its job, alone where there is no job; each rank of a
/// host takes its own GPU. A failure ends the whole job and the process, told once; an Interrupted
/// as well. Where --ranks asks for several and no launcher started this process, it starts them in
/// its place and throws CLI::RuntimeError with their exit code. Throws CLI::ValidationError where
/// both would start ranks, and Error for more ranks than there are GPUs, and naming a launcher's
/// variable that is missing, no number or no host.
void as_rank(const RankOptions& options, DeviceOptions device,
             const std::function<void(torch::Device, const std::shared_ptr<Communicator>&)>& work);

/// While it lives, this process prints nothing but its failure: for ranks other than the first.
class Quiet {
 public:
  explicit Quiet(bool is_quiet);
  ~Quiet();
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
};

}  // namespace hypenet
