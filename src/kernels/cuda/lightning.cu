// Which kernel, and how the tokens are cut.
#include "kernels/cuda/lightning_work.cuh"

namespace hypenet::kernels::cuda {
namespace {

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Device {
  int processors = 0, major = 0;
};

Status current_device(Device* device) {
  int id = 0;
  cudaError_t error = cudaGetDevice(&id);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&device->processors, cudaDevAttrMultiProcessorCount, id);
  }
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&device->major, cudaDevAttrComputeCapabilityMajor, id);
  }
  return status_of(error);
}

/// The count of segments that should take the least time: rounds of blocks over the device, each as
/// long as a segment and its early start. The published slopes start 940 tokens early on average,
/// at half the cost of a written token.
Segments choose_segments(const LightningParams& p, int64_t blocks_at_once) {
  constexpr int64_t kEarly = 470, kShortest = 512;
  const auto cut = [&](int64_t count) {
    const int64_t length = ceil_divide(ceil_divide(p.tokens, count), kChunk) * kChunk;
    return Segments{p.tokens > length ? ceil_divide(p.tokens, length) : 1, length};
  };
  if (p.segment > 0)
    return {p.tokens > p.segment ? ceil_divide(p.tokens, p.segment) : 1, p.segment};
  const int64_t chains = p.pass_count * p.sequences * p.heads;
  Segments best = cut(1);
  int64_t least = ceil_divide(chains, blocks_at_once) * best.length;
  for (int64_t count = 2; count <= ceil_divide(p.tokens, kShortest); ++count) {
    const Segments segments = cut(count);
    const int64_t rounds = ceil_divide(chains * segments.count, blocks_at_once);
    const int64_t time = rounds * (segments.length + kEarly);
    if (time < least) least = time, best = segments;
  }
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
  // Two blocks share a multiprocessor, but for Hopper's larger ones.
  const int64_t blocks_at_once = (hopper && params.size == 128 ? 1 : 2) * device.processors;
  const Segments segments = choose_segments(params, blocks_at_once);
  if (params.pass_count * params.sequences * params.heads * segments.count > INT32_MAX) {
    return {"more than 2^31 blocks"};
  }
  return hopper ? lightning_hopper(params, segments, stream)
                : lightning_portable(params, segments, stream);
}

}  // namespace hypenet::kernels::cuda
