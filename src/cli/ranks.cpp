// The environment's variables are torchrun's.
#include "cli/ranks.h"

#include <netdb.h>
#include <signal.h>
#include <sys/prctl.h>
#include <torch/cuda.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <thread>

#include "base/version.h"
#include "cli/failure.h"
#include "cli/interrupt.h"
#include "cli/note.h"
#include "run/run.h"

namespace hypenet {
namespace {

int64_t parse_number(const char* name, std::string_view text, int64_t least, int64_t most) {
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  HYPENET_CHECK(
      error == std::errc() && stop == text.data() + text.size() && value >= least && value <= most,
      name, ": expected a number from ", least, " to ", most, ", found \"", text, "\"");
  return value;
}

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  HYPENET_CHECK(value != nullptr, name,
                ": expected it beside RANK, as torchrun sets it, found no such variable");
  return value;
}

/// Whoever started this process would otherwise leave it behind when it is killed. Throws Error
/// where that was not the process that the environment names, which may be a former job's.
void end_with_parent() {
  const char* const parent = std::getenv("HYPENET_PARENT");
  if (parent == nullptr) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::string own = std::to_string(::getppid());
  HYPENET_CHECK(own == parent, "HYPENET_PARENT: expected the process that started this rank, ", own,
                ", found \"", parent, "\"; it is hypenet's own, to be set by nobody else");
}

[[noreturn]] void end(int code) {
  std::cout.flush();
  // Whatever waits in other threads, or in the destructors of collectives, waits for nobody.
  std::_Exit(code);
}

[[noreturn]] void end_job(JobCommunicator& job, const std::string& text, int code) {
  if (job.report(text)) fail(code == kInterrupted ? text : concat(job.name(), ": ", text));
  end(code);
}

/// Ctrl-C while the ranks meet, which the calls that wait there do not notice. Ranks that have met
/// stop together, so there is a moment left to meet.
void end_when_interrupted(const std::stop_token& has_joined) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::seconds kLeftToMeet{2};
  const std::atomic<bool>& is_interrupted = interrupt_flag();
  for (auto told = Clock::now(); !has_joined.stop_requested();) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (!is_interrupted) told = Clock::now();
    if (Clock::now() - told > kLeftToMeet) end(fail("interrupted", kInterrupted));
  }
}

/// Whether a name server may come to know it: no empty text, no number that is no address.
bool may_be_host(std::string_view address) {
  constexpr std::string_view kNumber = "0123456789.";
  const auto is_of_name = [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '.';
  };
  return address.find_first_not_of(kNumber) != address.npos &&
         std::ranges::all_of(address, is_of_name);
}

/// How long the address of a host that getaddrinfo has not found may still appear.
std::chrono::seconds wait_after(int error, const std::string& address, const Patience& patience) {
  constexpr std::chrono::seconds kUnknown{30};
  if (!may_be_host(address)) return std::chrono::seconds(0);
  if (error == EAI_AGAIN) return patience.to_meet;
  const bool is_unknown = error == EAI_NONAME || error == EAI_NODATA;
  return is_unknown ? std::min(kUnknown, patience.to_meet) : std::chrono::seconds(0);
}

/// Returns when the job's host has an address: a cluster's name server may know it only seconds
/// after the job has begun. c10d would try again and again, and tell of no reason.
void await_address(const JobPlace& place, const Patience& patience) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (bool is_told = place.local_index != 0;; is_told = true) {
    addrinfo* found = nullptr;
    const int error = ::getaddrinfo(place.address.c_str(), nullptr, nullptr, &found);
    if (error == 0) return ::freeaddrinfo(found);
    const auto wait = wait_after(error, place.address, patience);
    if (Clock::now() - start >= wait) {
      throw Error(concat("MASTER_ADDR: expected a host whose address can be found, found \"",
                         place.address, "\": ", ::gai_strerror(error)));
    }
    if (!is_told) {
      print_note(concat("waiting up to ", wait.count(), " s for the address of MASTER_ADDR \"",
                        place.address, "\": ", ::gai_strerror(error)));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

/// A fault that another rank's, or the job's own, line has told already ends this process in
/// silence.
std::shared_ptr<JobCommunicator> join_or_end(const JobPlace& place, torch::Device device,
                                             const Patience& patience) {
  const std::jthread watch(end_when_interrupted);
  try {
    await_address(place, patience);
    return join_job(place, device, patience, [](const std::string& text) { fail(text); });
  } catch (const OtherRankFailed&) {
    end(kFailed);
  }
}

/// Where this process is in its job, by the environment; nothing without RANK.
std::optional<JobPlace> job_place() {
  if (std::getenv("RANK") == nullptr) return std::nullopt;
  constexpr int64_t kMost = 1 << 20;
  JobPlace place;
  place.ranks.count = parse_number("WORLD_SIZE", variable("WORLD_SIZE"), 1, kMost);
  place.ranks.index = parse_number("RANK", variable("RANK"), 0, place.ranks.count - 1);
  place.local_index = parse_number("LOCAL_RANK", variable("LOCAL_RANK"), 0, kMost);
  place.address = variable("MASTER_ADDR");
  place.port =
      static_cast<uint16_t>(parse_number("MASTER_PORT", variable("MASTER_PORT"), 1, 65535));
  const char* const kept = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  place.is_store_kept = kept != nullptr && std::string_view(kept) == "True";
  return place;
}

/// A launcher says how many ranks there are; only those that start_ranks started have --ranks, too.
void check_started_once(const RankOptions& options) {
  if (std::getenv("HYPENET_PARENT") != nullptr || options.count == "1") return;
  throw CLI::ValidationError("--ranks", concat("expected none beside RANK in the environment, "
                                               "where a launcher starts the ranks, found ",
                                               options.count));
}

/// How many ranks are to be started here; one needs no start.
int64_t ranks_to_start(const RankOptions& options, const DeviceOptions& device) {
  const bool is_on_gpus = device.device.starts_with("cuda");
  const auto gpus = static_cast<int64_t>(is_on_gpus ? torch::cuda::device_count() : 0);
  HYPENET_CHECK(options.count != "all" || is_on_gpus, "--ranks all: expected --device cuda, found ",
                device.device);
  if (options.count == "all") return gpus;
  const int64_t count = parse_number("--ranks", options.count, 1, 4096);
  HYPENET_CHECK(count == 1 || !is_on_gpus || device.device == "cuda", "--ranks ", count,
                ": expected --device cuda, found ", device.device);
  HYPENET_CHECK(count == 1 || !is_on_gpus || count <= gpus, "--ranks: expected at most the ", gpus,
                " GPUs of this host, found ", count);
  return count;
}

}  // namespace

void add_rank_options(CLI::App& command, RankOptions& options) {
  command
      .add_option("--ranks", options.count,
                  "processes that share the work on this host, one a GPU, or all for every GPU")
      ->capture_default_str();
  command
      .add_option("--ranks-patience", options.patience,
                  "seconds without progress after which a rank counts as hung")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
}

Quiet::Quiet(bool is_quiet) {
  if (!is_quiet) return;
  std::cout.setstate(std::ios::failbit);
  std::cerr.setstate(std::ios::failbit);
}

Quiet::~Quiet() {
  std::cout.clear();
  std::cerr.clear();
}

void as_rank(const RankOptions& options, DeviceOptions device,
             const std::function<void(torch::Device, const std::shared_ptr<Communicator>&)>& work) {
  const auto place = job_place();
  if (!place) {
    const int64_t ranks = ranks_to_start(options, device);
    if (ranks > 1) throw CLI::RuntimeError(start_ranks(ranks, device));
    return work(use_device(device), std::make_shared<OneProcess>());
  }
  check_started_once(options);
  end_with_parent();
  if (device.device == "cuda") device.device = concat("cuda:", place->local_index);
  const torch::Device own = use_device(device);
  if (own.is_cuda()) c10::impl::VirtualGuardImpl(own.type()).setDevice(own);
  const std::chrono::seconds patience(options.patience);
  const Patience waits{.to_meet = std::min(Patience().to_meet, patience), .with_signs = patience};
  const auto job = join_or_end(*place, own, waits);
  try {
    job->check_same("program", concat(version(), " ", source_commit()));
    work(own, job);
    job->leave();
  } catch (const OtherRankFailed&) {
    end(kFailed);
  } catch (const Interrupted& interrupted) {
    end_job(*job, interrupted.what(), kInterrupted);
  } catch (const std::exception& error) {
    end_job(*job, failure_text(error), kFailed);
  }
  end(0);
}

}  // namespace hypenet
