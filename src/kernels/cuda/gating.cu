// Every element is read once and written once; a thread has two packs of each tensor in flight.
#include "kernels/cuda/pack.cuh"
#include "kernels/gating.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPacks = 2;  // of each tensor, a thread

struct Swiglu {
  static __device__ float forward(float up, float gate) { return gate * sigmoid(gate) * up; }
  static __device__ void backward(float up, float gate, float dy, float& dup, float& dgate) {
    const float s = sigmoid(gate);
    dup = dy * gate * s;
    dgate = dy * up * s * (1.0F + gate * (1.0F - s));
  }
};

struct SigmoidGate {
  static __device__ float forward(float x, float gate) { return x * sigmoid(gate); }
  static __device__ void backward(float x, float gate, float dy, float& dx, float& dgate) {
    const float s = sigmoid(gate);
    dx = dy * s;
    dgate = dx * x * (1.0F - s);
  }
};

template <class Gate, class T, int kWidth>
__device__ void forward_pack(const GateParams& p, const Pack<T, kWidth>& x_pack,
                             const Pack<T, kWidth>& gate_pack, int64_t index) {
  float x[kWidth], gate[kWidth];
  unpack(x_pack, x), unpack(gate_pack, gate);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) x[i] = Gate::forward(x[i], gate[i]);
  store_pack(p.y, index, pack_of<T>(x));
}

template <class Gate, class T, int kWidth>
__global__ void __launch_bounds__(kThreads) forward_kernel(GateParams p) {
  const int64_t packs = p.count / kWidth;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kPacks * kThreads + threadIdx.x;
  Pack<T, kWidth> x[kPacks], gate[kPacks];
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    const int64_t index = first + j * kThreads;
    if (index >= packs) continue;
    x[j] = load_pack<T, kWidth>(p.x, index);
    gate[j] = load_pack<T, kWidth>(p.gate, index);
  }
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    const int64_t index = first + j * kThreads;
    if (index < packs) forward_pack<Gate>(p, x[j], gate[j], index);
  }
  // What is left over after the last whole pack.
  const int64_t rest = packs * kWidth + threadIdx.x;
  if (kWidth > 1 && blockIdx.x == 0 && rest < p.count) {
    forward_pack<Gate>(p, load_pack<T, 1>(p.x, rest), load_pack<T, 1>(p.gate, rest), rest);
  }
}

template <class Gate, class T, int kWidth>
__device__ void backward_pack(const GateBackwardParams& p, const Pack<T, kWidth>& x_pack,
                              const Pack<T, kWidth>& gate_pack, const Pack<T, kWidth>& dy_pack,
                              int64_t index) {
  float x[kWidth], gate[kWidth], dy[kWidth], dx[kWidth], dgate[kWidth];
  unpack(x_pack, x), unpack(gate_pack, gate), unpack(dy_pack, dy);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) Gate::backward(x[i], gate[i], dy[i], dx[i], dgate[i]);
  store_pack(p.dx, index, pack_of<T>(dx));
  store_pack(p.dgate, index, pack_of<T>(dgate));
}

template <class Gate, class T, int kWidth>
__global__ void __launch_bounds__(kThreads) backward_kernel(GateBackwardParams p) {
  const int64_t packs = p.count / kWidth;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kPacks * kThreads + threadIdx.x;
  Pack<T, kWidth> x[kPacks], gate[kPacks], dy[kPacks];
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    const int64_t index = first + j * kThreads;
    if (index >= packs) continue;
    x[j] = load_pack<T, kWidth>(p.x, index);
    gate[j] = load_pack<T, kWidth>(p.gate, index);
    dy[j] = load_pack<T, kWidth>(p.dy, index);
  }
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    const int64_t index = first + j * kThreads;
    if (index < packs) backward_pack<Gate>(p, x[j], gate[j], dy[j], index);
  }
  const int64_t rest = packs * kWidth + threadIdx.x;
  if (kWidth > 1 && blockIdx.x == 0 && rest < p.count) {
    backward_pack<Gate>(p, load_pack<T, 1>(p.x, rest), load_pack<T, 1>(p.gate, rest),
                        load_pack<T, 1>(p.dy, rest), rest);
  }
}

unsigned blocks_for(int64_t count, int width) {
  const int64_t elements = static_cast<int64_t>(kThreads) * kPacks * width;
  return static_cast<unsigned>((count + elements - 1) / elements);
}

template <class Gate, class T, int kWidth>
Status launch(const GateParams& p, Stream stream) {
  forward_kernel<Gate, T, kWidth>
      <<<blocks_for(p.count, kWidth), kThreads, 0, cuda_stream(stream)>>>(p);
  return launch_status();
}

template <class Gate, class T, int kWidth>
Status launch(const GateBackwardParams& p, Stream stream) {
  backward_kernel<Gate, T, kWidth>
      <<<blocks_for(p.count, kWidth), kThreads, 0, cuda_stream(stream)>>>(p);
  return launch_status();
}

template <class Gate, class Params>
Status dispatch(const Params& p, bool aligned, Stream stream) {
  if (p.count == 0) return {};
  if (p.type == DType::kBFloat16) {
    return aligned ? launch<Gate, __nv_bfloat16, 8>(p, stream)
                   : launch<Gate, __nv_bfloat16, 1>(p, stream);
  }
  return aligned ? launch<Gate, float, 4>(p, stream) : launch<Gate, float, 1>(p, stream);
}

bool aligned(const GateParams& p) { return is_aligned(p.x, p.gate, p.y); }
bool aligned(const GateBackwardParams& p) { return is_aligned(p.x, p.gate, p.dy, p.dx, p.dgate); }

}  // namespace

Status swiglu(const GateParams& params, Stream stream) {
  return dispatch<Swiglu>(params, aligned(params), stream);
}

Status sigmoid_gate(const GateParams& params, Stream stream) {
  return dispatch<SigmoidGate>(params, aligned(params), stream);
}

Status swiglu_backward(const GateBackwardParams& params, Stream stream) {
  return dispatch<Swiglu>(params, aligned(params), stream);
}

Status sigmoid_gate_backward(const GateBackwardParams& params, Stream stream) {
  return dispatch<SigmoidGate>(params, aligned(params), stream);
}

}  // namespace hypenet::kernels::cuda
