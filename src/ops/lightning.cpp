// The slopes, a model's policy.
#include "ops/lightning.h"

#include <cmath>

#include "base/error.h"

namespace hypenet {

Tensor lightning_decay(int64_t heads) {
  HYPENET_CHECK(heads >= 1, "lightning_decay: expected at least one head, found ", heads);
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  std::vector<float> slopes;
  for (int64_t h = 0; h < power; ++h) slopes.push_back(std::exp2(-8.0 * (h + 1) / power));
  // The slopes of twice as many heads, first, third, ...: they lie between those above.
  for (int64_t h = 0; power + h < heads; ++h) {
    slopes.push_back(std::exp2(-8.0 * (2 * h + 1) / (2 * power)));
  }
  return torch::tensor(slopes);
}

}  // namespace hypenet
