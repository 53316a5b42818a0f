// The kernels of the recurrence with a decay per token in their order, how heads are cut into
// segments, and the scratch memory between them.
#include <algorithm>

#include "kernels/cuda/token_decay.cuh"

namespace hypenet::kernels::cuda {
namespace {

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t attribute(cudaDeviceAttr name) {
  int device = 0, value = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  if (cudaDeviceGetAttribute(&value, name, device) != cudaSuccess) return 0;
  return value;
}

/// How heads are cut, and whether a backward's passes run side by side.
struct Cut {
  int64_t segments;
  bool is_together;
};

/// The least time, in eighths of a chunk of output: rounds of blocks over the device, and before
/// them, where heads are cut, rounds that gather all segments' states but the last, at 3/8 of the
/// time. Passes side by side take a quarter longer than one after the other, but fill the device
/// with fewer heads.
Cut choose_cut(const TokenDecayParams& p, bool is_backward) {
  constexpr int64_t kStart = 2, kLaunch = 3, kMost = 64;
  const int64_t passes = is_backward ? 3 : 1, gathers = is_backward ? 2 : 1;
  const int64_t heads = p.batch * p.heads, chunks = ceil_divide(p.tokens, kChunk);
  const int64_t processors = std::max<int64_t>(attribute(cudaDevAttrMultiProcessorCount), 1);
  const int64_t at_once = processors * pass_blocks(p.size, is_backward);
  const auto rounds = [at_once](int64_t blocks) { return ceil_divide(blocks, at_once); };
  Cut best{1, true};
  int64_t best_time = INT64_MAX;
  for (int64_t segments = 1; segments <= std::min(chunks, kMost); ++segments) {
    const int64_t length = ceil_divide(chunks, segments);
    if (ceil_divide(chunks, length) != segments) continue;
    const int64_t together = 10 * rounds(passes * heads * segments) * (length + kStart);
    const int64_t apart = 8 * passes * (rounds(heads * segments) * (length + kStart) + kLaunch);
    int64_t time = std::min(together, apart);
    if (segments > 1) {
      // Two blocks in the place of one take as long as they would one after the other.
      time += rounds(gathers * heads * (segments - 1)) * (3 * length + 8 * kStart) + 8 * kLaunch;
    }
    if (time < best_time) best = {segments, together < apart}, best_time = time;
  }
  return best;
}

/// Cuts memory into pieces that start at multiples of 256 bytes; with a null base it only counts.
class Cutter {
 public:
  explicit Cutter(void* base) : base_(static_cast<char*>(base)) {}
  template <class T>
  T* take(int64_t count) {
    T* const piece = reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += ceil_divide(count * static_cast<int64_t>(sizeof(T)), 256) * 256;
    return piece;
  }
  int64_t bytes() const { return bytes_; }

 private:
  char* base_;
  int64_t bytes_ = 0;
};

/// What segments leave for those after them, in one direction.
struct Made {
  float *states, *fades;
};

struct Scratch {
  Cut cut;
  int64_t marks;
  Made forward, backward;
  float *readers, *keys;  // [B, T, H]
  uint32_t *state_marks, *grad_marks;
  int64_t bytes;
};

Scratch scratch_of(const TokenDecayParams& p, bool is_backward) {
  Scratch scratch{};
  scratch.cut = choose_cut(p, is_backward);
  scratch.marks = ceil_divide(ceil_divide(p.tokens, kChunk), kMarkedChunks);
  const int64_t heads = p.batch * p.heads, matrix = p.size * p.size;
  Cutter cutter(p.scratch);
  const auto made = [&]() -> Made {
    if (scratch.cut.segments == 1) return {};
    float* const states = cutter.take<float>(heads * scratch.cut.segments * matrix);
    return {states, cutter.take<float>(heads * scratch.cut.segments)};
  };
  scratch.forward = made();
  if (is_backward) {
    scratch.backward = made();
    scratch.readers = cutter.take<float>(heads * p.tokens);
    scratch.keys = cutter.take<float>(heads * p.tokens);
    scratch.state_marks = cutter.take<uint32_t>(heads * scratch.marks * matrix / 2);
    scratch.grad_marks = cutter.take<uint32_t>(heads * scratch.marks * matrix / 2);
  }
  scratch.bytes = cutter.bytes();
  return scratch;
}

PassParams shared_params(const TokenDecayParams& p, const Scratch& scratch) {
  PassParams params{};
  params.decay = p.decay, params.beta = p.beta, params.scale = p.scale;
  params.batch = p.batch, params.tokens = p.tokens, params.heads = p.heads;
  params.chunks = ceil_divide(p.tokens, kChunk);
  params.segments = scratch.cut.segments;
  params.segment_chunks = ceil_divide(params.chunks, params.segments);
  return params;
}

/// The passes, side by side or one after the other.
Status run(const PassParams& params, const Cut& cut, int64_t size, bool is_backward,
           Stream stream) {
  if (cut.is_together) return run_passes(params, size, is_backward, stream);
  Status status;
  for (int64_t i = 0; i < params.pass_count && status.ok(); ++i) {
    PassParams one = params;
    one.pass_count = 1, one.passes[0] = params.passes[i];
    status = run_passes(one, size, is_backward, stream);
  }
  return status;
}

/// What makes the states of segments that a pass starts from.
Pass gather_of(const Pass& pass) {
  Pass gather = pass;
  gather.kind = PassKind::kGather;
  return gather;
}

Status check(const TokenDecayParams& p) {
  if (p.size != 64 && p.size != 128) return {"expected head size 64 or 128"};
  if (p.batch * p.heads > INT32_MAX) return {"more than 2^31 heads"};
  if (ceil_divide(p.tokens, kChunk * kMarkedChunks) > 65535) return {"more than 2^26 tokens"};
  return {};
}

}  // namespace

Status token_decay(const TokenDecayParams& p, Stream stream) {
  Status status = check(p);
  if (!status.ok() || p.batch * p.heads == 0) return status;
  const Scratch scratch = scratch_of(p, false);
  PassParams params = shared_params(p, scratch);
  params.pass_count = 1;
  params.passes[0] = {.kind = PassKind::kForward,
                      .q = p.q,
                      .k = p.k,
                      .v = p.v,
                      .o = p.output,
                      .given = p.given,
                      .given_factor = 1,
                      .final_state = p.final_state,
                      .final_factor = 1,
                      .segments = scratch.forward.states,
                      .fades = scratch.forward.fades};
  if (params.segments > 1) {
    PassParams gathers = params;
    gathers.passes[0] = gather_of(params.passes[0]);
    status = gather_segments(gathers, p.size, stream);
  }
  return status.ok() ? run(params, scratch.cut, p.size, false, stream) : status;
}

Status token_decay_backward(const TokenDecayBackwardParams& b, Stream stream) {
  const TokenDecayParams& p = b.forward;
  Status status = check(p);
  if (!status.ok() || p.batch * p.heads == 0) return status;
  const Scratch scratch = scratch_of(p, true);
  PassParams params = shared_params(p, scratch);
  params.pass_count = 3;
  const Pass queries = {.kind = PassKind::kQueries,
                        .given_transposed = true,
                        .q = b.doutput,
                        .k = p.v,
                        .v = p.k,
                        .r = p.q,
                        .o = b.dq,
                        .given = p.given,
                        .given_factor = 1,
                        .segments = scratch.forward.states,
                        .fades = scratch.forward.fades,
                        .dots = scratch.readers,
                        .marks = scratch.state_marks};
  // The output's factor is in do already where it meets the state, but not in dfinal.
  const Pass keys = {.kind = PassKind::kKeys,
                     .reverse = true,
                     .given_transposed = true,
                     .q = p.v,
                     .k = b.doutput,
                     .v = p.q,
                     .r = p.k,
                     .o = b.dk,
                     .given = b.dfinal,
                     .given_factor = 1 / p.scale,
                     .segments = scratch.backward.states,
                     .fades = scratch.backward.fades,
                     .dots = scratch.keys,
                     .marks = scratch.grad_marks};
  Pass values = keys;
  values.kind = PassKind::kValues;
  values.given_transposed = false, values.segments_transposed = true;
  values.q = p.k, values.k = p.q, values.v = b.doutput, values.r = p.v;
  values.o = b.dv, values.dots = b.dbeta, values.marks = nullptr;
  values.final_state = b.dgiven, values.final_factor = p.scale;
  params.passes[0] = queries, params.passes[1] = keys, params.passes[2] = values;
  if (params.segments > 1) {
    PassParams gathers = params;
    gathers.pass_count = 2;
    gathers.passes[0] = gather_of(queries), gathers.passes[1] = gather_of(keys);
    status = gather_segments(gathers, p.size, stream);
  }
  if (status.ok()) status = run(params, scratch.cut, p.size, true, stream);
  if (!status.ok()) return status;
  return decay_gradient({.decay = p.decay,
                         .readers = scratch.readers,
                         .keys = scratch.keys,
                         .state_marks = scratch.state_marks,
                         .grad_marks = scratch.grad_marks,
                         .ddecay = b.ddecay,
                         .scale = p.scale,
                         .has_given = p.given != nullptr,
                         .has_final_gradient = b.dfinal != nullptr,
                         .batch = p.batch,
                         .tokens = p.tokens,
                         .heads = p.heads,
                         .size = p.size,
                         .marks = scratch.marks},
                        stream);
}

int64_t token_decay_bytes(const TokenDecayParams& params, bool is_backward) {
  return scratch_of(params, is_backward).bytes;
}

bool has_token_decay(int64_t size) {
  return (size == 64 || size == 128) && attribute(cudaDevAttrComputeCapabilityMajor) == 9 &&
         attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) >= pass_bytes(size, true);
}

}  // namespace hypenet::kernels::cuda
