// Greedy choice and inverse-transform sampling.
#include "engine/sampling.h"

#include "base/error.h"

namespace hypenet {

int32_t sample(const torch::Tensor& logits, const SamplingOptions& options, Random& random) {
  if (options.temperature == 0) return static_cast<int32_t>(logits.argmax(-1).item<int64_t>());
  // float64, so that the tail of a large vocabulary keeps its mass in the running sum.
  const auto shares = torch::softmax(logits.to(torch::kFloat64) / options.temperature, -1);
  const auto running = shares.cumsum(-1);
  const auto point = running.slice(-1, -1) * random.uniform();
  const auto token = torch::searchsorted(running, point, /*out_int32=*/false, /*right=*/true);
  const auto id = token.item<int64_t>();
  HYPENET_CHECK(id < logits.size(-1), "sampling: expected finite logits, found nan or infinity");
  return static_cast<int32_t>(id);
}

}  // namespace hypenet
