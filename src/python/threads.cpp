// The environment is not asked: what it chose shows in libtorch's own number.
#include "python/threads.h"

#include <torch/utils.h>

#include <thread>

#include "base/error.h"
#include "base/processors.h"

namespace hypenet {

void use_threads(int64_t threads) {
  HYPENET_CHECK(threads >= 0 && threads <= 4096, "threads: expected 0 to 4096, found ", threads);
  const auto all = static_cast<int64_t>(std::thread::hardware_concurrency());
  const bool is_chosen = torch::get_num_threads() != all;
  if (threads == 0 && !is_chosen) threads = physical_cores();
  if (threads > 0) torch::set_num_threads(static_cast<int>(threads));
}

}  // namespace hypenet
