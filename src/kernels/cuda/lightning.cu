// Which kernel, and how the tokens are cut.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cuda/lightning_work.cuh"

namespace hypenet::kernels::cuda {
namespace {

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Device {
  int processors = 0, major = 0;
  int64_t shared_of_block = 0, shared_of_processor = 0;  // bytes
};

Status current_device(Device* device) {
  int id = 0;
  cudaError_t error = cudaGetDevice(&id);
  const auto ask = [&](cudaDeviceAttr attribute) {
    int value = 0;
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&value, attribute, id);
    return value;
  };
  device->processors = ask(cudaDevAttrMultiProcessorCount);
  device->major = ask(cudaDevAttrComputeCapabilityMajor);
  device->shared_of_block = ask(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  device->shared_of_processor = ask(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
  return status_of(error);
}

/// Blocks that a multiprocessor holds: one of Hopper's with two warpgroups, else two where shared
/// memory allows.
int64_t resident_blocks(const LightningParams& p, const Device& device, bool hopper) {
  if (hopper) return p.size == 128 ? 1 : 2;
  return device.shared_of_processor >= 2 * (lightning_portable_bytes(p.size) + 1024) ? 2 : 1;
}

/// The cut that should take the least time: rounds of blocks over the device, each as long as the
/// costliest segment. It is reckoned with the published slopes; others take their time, not harm.
Segments choose_segments(const LightningParams& p, int64_t blocks_at_once) {
  constexpr int64_t kLeast = 512;
  std::vector<int64_t> reaches;
  for (int64_t head = 0; head < p.heads; ++head) {
    const auto reach = static_cast<int64_t>(kForgotten * std::exp2(8.0 * (head + 1) / p.heads));
    reaches.push_back(std::min(reach, p.tokens));
  }
  Segments best{1, p.tokens};
  const auto rounds = [&](int64_t segments_of_a_row) {
    return ceil_divide(p.pass_count * p.sequences * segments_of_a_row, blocks_at_once);
  };
  int64_t best_time = rounds(p.heads) * p.tokens;
  for (int64_t cost = kLeast; cost < p.tokens; cost += ceil_divide(cost, 16)) {
    int64_t segments = 0, costliest = 0;
    for (const int64_t early : reaches) {
      const int64_t length = segment_length(p.tokens, early, cost);
      segments += ceil_divide(p.tokens, length);
      costliest = std::max(costliest, length + early * 3 / 8);
    }
    if (rounds(segments) * costliest < best_time) {
      best_time = rounds(segments) * costliest;
      best = {0, cost};
    }
  }
  // Whatever the slopes, no segment is shorter than half the cost.
  best.count = best.cost < p.tokens ? ceil_divide(p.tokens, best.cost / 2) : 1;
  return best;
}

}  // namespace

Status lightning(const LightningParams& params, Stream stream) {
  if (params.sequences * params.heads == 0) return {};
  if (params.size != 64 && params.size != 128) return {"expected head size 64 or 128"};
  Device device;
  const Status status = current_device(&device);
  if (!status.ok()) return status;
  const bool hopper = device.major == 9 && !params.portable;
  const int64_t blocks_at_once = resident_blocks(params, device, hopper) * device.processors;
  const Segments segments = choose_segments(params, blocks_at_once);
  if (params.pass_count * params.sequences * params.heads * segments.count > INT32_MAX) {
    return {"more than 2^31 blocks"};
  }
  return hopper ? lightning_hopper(params, segments, stream)
                : lightning_portable(params, segments, stream);
}

bool has_lightning(int64_t size) {
  Device device;
  return (size == 64 || size == 128) && current_device(&device).ok() && device.major >= 8 &&
         device.shared_of_block >= lightning_portable_bytes(size);
}

}  // namespace hypenet::kernels::cuda
