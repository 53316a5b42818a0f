// The model checks no ids: what enters from outside is checked here, once.
#include "model/token_ids.h"

#include <algorithm>

#include "base/error.h"

namespace hypenet {

void check_ids(std::string_view place, std::span<const int32_t> ids, int64_t vocab_size) {
  for (const int32_t id : ids) {
    HYPENET_CHECK(id >= 0 && id < vocab_size, place, ": expected ids from 0 to ", vocab_size - 1,
                  ", found ", id);
  }
}

torch::Tensor ids_tensor(std::span<const int32_t> ids, torch::Device device) {
  torch::Tensor tensor = torch::empty({static_cast<int64_t>(ids.size())}, torch::kInt64);
  std::copy(ids.begin(), ids.end(), tensor.data_ptr<int64_t>());
  return tensor.to(device);
}

}  // namespace hypenet
