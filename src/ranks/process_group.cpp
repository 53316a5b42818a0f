// Numbers of the host go through Gloo also where tensors go through NCCL, so that no question
// between hosts waits for a device.
#define USE_C10D_GLOO  // NOLINT(readability-identifier-naming): c10d asks for this name
#include "ranks/process_group.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Logging.h>

#include <algorithm>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "base/json.h"
#include "ranks/call_failure.h"
#include "ranks/nccl.h"
#include "ranks/watch.h"

namespace hypenet {
namespace {

constexpr std::chrono::hours kForEver{24 * 365};  // who does not come is noticed by Watch

using Store = c10::intrusive_ptr<c10d::Store>;
using Backend = c10::intrusive_ptr<c10d::Backend>;

Store meet(const JobPlace& place, std::chrono::seconds patience) {
  FLAGS_caffe2_log_level = 3;  // c10d tells of each try, with its stack; errors come as exceptions
  c10d::TCPStoreOptions options;
  options.port = place.port;
  options.isServer = place.ranks.is_first() && !place.is_store_kept;
  options.waitWorkers = false;
  options.timeout = patience;
  try {
    return c10::make_intrusive<c10d::TCPStore>(place.address, options);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    throw Error(concat(place.address, ":", place.port, ": ",
                       options.isServer ? "cannot wait for ranks there: "
                                        : "expected the job's first rank, found nobody: ",
                       text.substr(0, text.find('\n'))));
  }
}

/// Returns when all have come. Throws Error that names who has not.
void wait_for_all(const Store& store, Ranks ranks, std::chrono::seconds patience) {
  store->set(concat("here/", ranks.index), "");
  for (int64_t rank = 0; rank < ranks.count; ++rank) {
    try {
      store->wait({concat("here/", rank)}, patience);
    } catch (const std::exception&) {
      throw Error(concat("rank ", rank, ": expected it to join within ", patience.count(),
                         " s, as rank ", ranks.index, " did, found nobody"));
    }
  }
}

Backend new_gloo(const Store& store, const JobPlace& place) {
  auto options = c10d::ProcessGroupGloo::Options::create(kForEver);
  const bool is_local = place.address == "127.0.0.1" || place.address == "localhost";
  options->devices.push_back(is_local ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                                      : c10d::ProcessGroupGloo::createDefaultDevice());
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, static_cast<int>(place.ranks.index),
                                                     static_cast<int>(place.ranks.count), options);
}

/// Where a text differs from the first rank's; of JSON, by key.
std::string first_rank_difference(const std::string& expected, const std::string& found) {
  const Json first = Json::parse(expected, nullptr, /*allow_exceptions=*/false);
  const Json own = Json::parse(found, nullptr, /*allow_exceptions=*/false);
  if (first.is_object() && own.is_object())
    return concat("as the first rank has it: ", first_difference(first, own));
  const auto differ = std::ranges::mismatch(found, expected);
  const auto excerpt = [](const std::string& of, std::string::const_iterator at) {
    constexpr ptrdiff_t kBefore = 40;
    const ptrdiff_t place = at - of.begin();
    return of.substr(static_cast<size_t>(std::max(place - kBefore, ptrdiff_t{0})), 2 * kBefore);
  };
  return concat("expected the first rank's \"", excerpt(expected, differ.in2), "\", found \"",
                excerpt(found, differ.in1), "\"");
}

class ProcessGroup : public JobCommunicator {
 public:
  ProcessGroup(const JobPlace& place, torch::Device device, const Patience& patience,
               const std::function<void(const std::string&)>& tell)
      : place_(place), device_(device), store_(meet(place, patience.to_meet)) {
    wait_for_all(store_, place_.ranks, patience.to_meet);
    watch_ = std::make_shared<Watch>(store_->clone(), place_.ranks, patience.with_signs, tell);
    connect();
  }

  /// A group of the ranks of `whole`, whose watch goes on.
  ProcessGroup(const ProcessGroup& whole, Ranks ranks, const std::string& name)
      : place_(whole.place_),
        device_(whole.device_),
        store_(c10::make_intrusive<c10d::PrefixStore>(name, whole.store_->clone())),
        watch_(whole.watch_),
        around_(whole.around_) {
    place_.ranks = ranks;
    connect();
  }

  Ranks ranks() const override { return place_.ranks; }

  std::shared_ptr<Communicator> split(int64_t size) override {
    const Ranks own = {ranks().index % size, size};
    const std::string name = concat("split/", splits_++, "/", ranks().index / size);
    return std::make_shared<ProcessGroup>(*this, own, name);
  }

  void around_waits(const std::function<void(const Wait&)>& around) override { *around_ = around; }

  void sum(const std::vector<Tensor>& tensors) override {
    const torch::NoGradGuard no_grad;
    timed([&] {
      std::vector<Tensor> all = tensors;
      c10d::AllreduceCoalescedOptions options;
      options.asyncOp = false;
      wait(tensors_->allreduce_coalesced(all, options));
    });
  }

  Wait gather(const std::vector<Tensor>& wholes, const std::vector<Tensor>& parts) override {
    return begin([&] {
      std::vector<Tensor> outputs = as_bytes(wholes), inputs = as_bytes(parts);
      return tensors_->allgather_into_tensor_coalesced(outputs, inputs);
    });
  }

  Wait sum_parts(const std::vector<Tensor>& parts, const std::vector<Tensor>& wholes) override {
    return begin([&] {
      std::vector<Tensor> outputs = parts, inputs = wholes;
      return tensors_->reduce_scatter_tensor_coalesced(outputs, inputs);
    });
  }

  bool any(bool here) override { return most(here ? 1 : 0) != 0; }

  int64_t most(int64_t here) override {
    std::vector<Tensor> number = {torch::full({1}, here, torch::kInt64)};
    c10d::AllreduceOptions options;
    options.reduceOp = c10d::ReduceOp::MAX;
    guarded([&] { wait(hosts_->allreduce(number, options)); });
    return number[0].item<int64_t>();
  }

  std::vector<std::string> gather_bytes(const std::string& bytes) override {
    // Two sums to which every rank adds in places of its own.
    const auto [index, count] = ranks();
    std::vector<Tensor> sizes = {torch::zeros({count}, torch::kInt64)};
    sizes[0][index] = std::ssize(bytes);
    guarded([&] { wait(hosts_->allreduce(sizes)); });
    const int64_t begin = sizes[0].slice(0, 0, index).sum().item<int64_t>();
    std::vector<Tensor> all = {torch::zeros({sizes[0].sum().item<int64_t>()}, torch::kUInt8)};
    if (all[0].numel() == 0) return std::vector<std::string>(static_cast<size_t>(count));
    std::ranges::copy(bytes, reinterpret_cast<char*>(all[0].data_ptr<uint8_t>()) + begin);
    guarded([&] { wait(hosts_->allreduce(all)); });
    std::vector<std::string> found;
    const char* at = reinterpret_cast<const char*>(all[0].const_data_ptr<uint8_t>());
    for (int64_t rank = 0; rank < count; ++rank) {
      const auto size = sizes[0][rank].item<int64_t>();
      found.emplace_back(at, static_cast<size_t>(size));
      at += size;
    }
    return found;
  }

  void barrier() override { any(false); }

  void check_same(const std::string& name, const std::string& text) override {
    const std::string key = concat("same/", name, "/");
    store_->set(key + std::to_string(ranks().index), text);
    barrier();
    const std::string expected = store_->get_to_str(key + "0");
    HYPENET_CHECK(text == expected, name, ": ", first_rank_difference(expected, text));
    barrier();
  }

  void give_sign() override { watch_->give_sign(); }
  bool report(const std::string& fault) override { return watch_->report(fault); }
  std::string name() override { return name_here(ranks()); }

  void leave() override {
    barrier();
    watch_->stop();
    // The rank that keeps the store goes last.
    store_->add("left", 1);
    while (ranks().is_first() && store_->add("left", 0) < ranks().count)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

 private:
  void connect() {
    const auto named = [&](const char* name) {
      return c10::make_intrusive<c10d::PrefixStore>(name, store_->clone());
    };
    guarded([&] {
      hosts_ = new_gloo(named("gloo"), place_);
      tensors_ = device_.is_cuda() ? new_nccl(named("nccl"), static_cast<int>(ranks().index),
                                              static_cast<int>(ranks().count))
                                   : hosts_;
    });
    // The first call connects, which may not be recorded in a graph.
    sum({torch::ones({1}, device_)});
  }

  /// A collective that fails does so because another rank is gone.
  template <class Call>
  void guarded(const Call& call) {
    watch_->count_call();
    try {
      call();
    } catch (const std::exception& error) {
      const auto [free, total] = memory();
      watch_->throw_cause(call_failure(error.what(), free, total));
    }
  }

  /// Bytes of the device that are free, and all; zeros for a CPU and a device that does not answer.
  std::pair<int64_t, int64_t> memory() const {
    if (!device_.is_cuda()) return {};
    try {
      const auto [free, total] =
          c10::getDeviceAllocator(device_.type())->getMemoryInfo(device_.index());
      return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
    } catch (const std::exception&) {
      return {};
    }
  }

  template <class Call>
  Wait begin(const Call& call) {
    const torch::NoGradGuard no_grad;
    c10::intrusive_ptr<c10d::Work> work;
    guarded([&] { work = call(); });
    return [this, work] { timed([&] { wait(work); }); };
  }

  /// A call that waits for other ranks' tensors.
  template <class Call>
  void timed(const Call& call) {
    const auto wait = [&] { guarded(call); };
    *around_ ? (*around_)(wait) : wait();
  }

  /// Gloo moves types that it cannot add as well.
  static std::vector<Tensor> as_bytes(std::vector<Tensor> tensors) {
    for (Tensor& tensor : tensors) tensor = tensor.view(torch::kUInt8);
    return tensors;
  }

  static void wait(const c10::intrusive_ptr<c10d::Work>& work) {
    if (work) work->wait();
  }

  JobPlace place_;  // its ranks: those of this group
  torch::Device device_;
  Store store_;
  std::shared_ptr<Watch> watch_;
  std::shared_ptr<std::function<void(const Wait&)>> around_ =
      std::make_shared<std::function<void(const Wait&)>>();
  int64_t splits_ = 0;
  Backend hosts_, tensors_;
};

}  // namespace

std::shared_ptr<JobCommunicator> join_job(const JobPlace& place, torch::Device device,
                                          const Patience& patience,
                                          const std::function<void(const std::string&)>& tell) {
  try {
    return std::make_shared<ProcessGroup>(place, device, patience, tell);
  } catch (const OtherRankFailed&) {
    throw;
  } catch (const Error& error) {
    throw Error(concat(name_here(place.ranks), ": ", error.what()));
  }
}

}  // namespace hypenet
