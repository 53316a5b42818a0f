// Starts the ranks of a job on this host. The store where they meet is kept here, so that it
// outlives each of them, and so does what is known of how each ended.
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "cli/failure.h"
#include "cli/interrupt.h"
#include "cli/ranks.h"
#include "ranks/watch.h"

namespace hypenet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBetweenLooks{20};
constexpr std::chrono::seconds kToEnd{8};  // of the others, once one has failed

std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// This process's environment with these settings.
std::vector<std::string> environment_with(const std::vector<std::string>& settings) {
  std::vector<std::string> all = settings;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto name = text.substr(0, text.find('=') + 1);
    const bool is_set = std::ranges::any_of(
        settings, [&](const std::string& setting) { return setting.starts_with(name); });
    if (!is_set) all.emplace_back(text);
  }
  return all;
}

/// The ranks as processes.
class Started {
 public:
  Started(int64_t count, const DeviceOptions& device) {
    const c10d::TCPStoreOptions options{.port = 0, .isServer = true, .waitWorkers = false};
    const auto store = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
    port_ = store->getPort();
    store_ = store;
    for (int64_t rank = 0; rank < count; ++rank) start(rank, count, device);
  }

  int wait() {
    while (running_ > 0) {
      std::this_thread::sleep_for(kBetweenLooks);
      if (!is_stopped_ && interrupt_flag()) is_stopped_ = true, signal_all(SIGINT);
      int status = 0;
      for (pid_t ended = 0; (ended = ::waitpid(-1, &status, WNOHANG)) > 0;) note_end(ended, status);
      if (failed_at_ && Clock::now() - *failed_at_ > kToEnd) signal_all(SIGKILL);
    }
    return code_;
  }

 private:
  void start(int64_t rank, int64_t count, const DeviceOptions& device) {
    std::vector<std::string> arguments = own_arguments();
    std::vector<std::string> settings = {concat("RANK=", rank),
                                         concat("LOCAL_RANK=", rank),
                                         concat("WORLD_SIZE=", count),
                                         "MASTER_ADDR=127.0.0.1",
                                         concat("MASTER_PORT=", port_),
                                         "TORCHELASTIC_USE_AGENT_STORE=True",
                                         concat("HYPENET_PARENT=", ::getpid())};
    const int64_t threads = std::max<int64_t>(1, torch::get_num_threads() / count);
    if (device.threads == 0) settings.push_back(concat("OMP_NUM_THREADS=", threads));
    std::vector<std::string> environment = environment_with(settings);
    pid_t process = 0;
    const int error = ::posix_spawn(&process, "/proc/self/exe", nullptr, nullptr,
                                    pointers(arguments).data(), pointers(environment).data());
    if (error != 0) signal_all(SIGKILL);
    HYPENET_CHECK(error == 0, "--ranks: cannot start rank ", rank, ": ", std::strerror(error));
    processes_.push_back(process);
    ++running_;
  }

  void note_end(pid_t process, int status) {
    const auto place = std::ranges::find(processes_, process);
    if (place == processes_.end()) return;
    *place = 0;
    --running_;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    if (!failed_at_) failed_at_ = Clock::now();
    if (WIFEXITED(status)) {
      code_ = code_ == kInterrupted ? code_ : WEXITSTATUS(status);
      return;
    }
    code_ = code_ == 0 ? kFailed : code_;
    const int signal = WTERMSIG(status);
    const Ranks rank{place - processes_.begin(), std::ssize(processes_)};
    const std::string text =
        concat(name_here(rank), ": ended by signal ", signal, " (", ::strsignal(signal), ")");
    if (claim_fault(*store_, rank, text)) fail(text);
  }

  void signal_all(int signal) {
    for (const pid_t process : processes_) {
      if (process != 0) ::kill(process, signal);
    }
  }

  c10::intrusive_ptr<c10d::Store> store_;
  uint16_t port_ = 0;
  std::vector<pid_t> processes_;  // 0: ended
  int64_t running_ = 0;
  int code_ = 0;
  bool is_stopped_ = false;
  std::optional<Clock::time_point> failed_at_;
};

}  // namespace

int start_ranks(int64_t count, const DeviceOptions& device) {
  interrupt_flag();  // from now on a signal is passed on, and this process ends after the ranks
  use_device({.device = "cpu", .threads = device.threads});  // the number of threads to share out
  return Started(count, device).wait();
}

}  // namespace hypenet
