// The outputs of all layers are cut into cache lines of 16; a thread takes a run of them for all
// rows, so that its weights go through memory once.
#include "ops/linear_step_cpu.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>

#include "kernels/gating.h"
#include "kernels/linear.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::DType;
using kernels::kLinearUnit;

constexpr int64_t kGrain = 65536;      // products a task: a fork and join costs about as much
constexpr int64_t kPackGrain = 16384;  // numbers a task

/// x, or a copy, with rows that are contiguous; undefined stays undefined.
Tensor with_whole_rows(const Tensor& x) {
  return !x.defined() || x.stride(1) == 1 || x.size(1) == 1 ? x : x.contiguous();
}

const void* pointer_or_null(const Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }

/// The rows after norm and gate, as the kernel reads them for weights of this type.
Tensor packed_rows(const LinearStepInput& input, DType weight_type) {
  const Tensor x = with_whole_rows(input.x), gate = with_whole_rows(input.gate);
  const Tensor norm = input.norm_weight.defined() ? input.norm_weight.contiguous() : Tensor();
  const int64_t N = x.size(0), K = x.size(1);
  const Tensor packed = torch::empty({N, kernels::packed_size(K)}, x.options());
  const kernels::PackRowsParams params{
      .x = x.const_data_ptr<float>(),
      .norm_weight = pointer_or_null(norm),
      .gate = gate.defined() ? gate.const_data_ptr<float>() : nullptr,
      .y = packed.mutable_data_ptr<float>(),
      .size = K,
      .x_row = x.stride(0),
      .gate_row = gate.defined() ? gate.stride(0) : 0,
      .norm_type = norm.defined() ? kernel_type(norm) : DType::kFloat32,
      .weight_type = weight_type,
      .eps = static_cast<float>(input.eps)};
  at::parallel_for(0, N, kPackGrain / (K + 1) + 1,
                   [&](int64_t begin, int64_t end) { kernels::pack_rows(params, begin, end); });
  return packed;
}

/// The products of one call and how they are cut among threads.
struct Products {
  std::vector<kernels::LinearParams> layers;
  std::vector<Tensor> kept;  // what the pointers point into

  static int64_t units(const kernels::LinearParams& layer) {
    return (layer.out + kLinearUnit - 1) / kLinearUnit;
  }

  /// Units begin .. end - 1 of all layers, one after the other.
  void run(int64_t begin, int64_t end) const {
    for (const kernels::LinearParams& layer : layers) {
      const int64_t first = std::max<int64_t>(begin, 0), last = std::min(end, units(layer));
      if (first < last) {
        kernels::linear(layer, first * kLinearUnit, std::min(last * kLinearUnit, layer.out));
      }
      begin -= units(layer), end -= units(layer);
    }
  }
};

/// `work` on the units 0 .. count - 1, each of 16 x `products` products.
template <class Work>
void for_units(int64_t count, int64_t products, const Work& work) {
  at::parallel_for(0, count, kGrain / (kLinearUnit * products + 1) + 1, work);
}

/// The layers' products into `outputs` [N, out], to which they are added if `adds`.
Products products_into(const LinearStepInput& input, const std::vector<Tensor>& outputs,
                       bool adds) {
  Products products;
  std::array<Tensor, 2> packed;  // for each type of weights
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor weight = input.layers[i].weight.read().contiguous();
    const DType type = kernel_type(weight);
    Tensor bias = input.layers[i].bias.read();
    if (bias.defined()) bias = bias.to(weight.scalar_type()).contiguous();
    Tensor& rows = packed[type == DType::kBFloat16 ? 1 : 0];
    if (!rows.defined()) rows = packed_rows(input, type);
    products.layers.push_back({.x = rows.const_data_ptr<float>(),
                               .weight = weight.const_data_ptr(),
                               .bias = pointer_or_null(bias),
                               .y = outputs[i].mutable_data_ptr<float>(),
                               .rows = input.x.size(0),
                               .size = input.x.size(1),
                               .out = weight.size(0),
                               .y_row = outputs[i].stride(0),
                               .weight_type = type,
                               .adds = adds});
    products.kept.insert(products.kept.end(), {weight, bias, rows});
  }
  return products;
}

/// silu(first) * second in first's place, for the outputs begin .. end - 1.
void apply_swiglu(const Tensor& first, const Tensor& second, int64_t begin, int64_t end) {
  const kernels::GateParams params{.x = second.const_data_ptr<float>(),
                                   .gate = first.const_data_ptr<float>(),
                                   .y = first.mutable_data_ptr<float>()};
  for (int64_t n = 0; n < first.size(0); ++n) {
    kernels::swiglu_forward(params, n * first.size(1) + begin, n * first.size(1) + end);
  }
}

}  // namespace

std::vector<Tensor> linear_step_cpu(const LinearStepInput& input) {
  const int64_t N = input.x.size(0), K = input.x.size(1);
  const bool adds = input.residual.defined();
  std::vector<Tensor> outputs;
  for (const LinearWeights& layer : input.layers) {
    outputs.push_back(adds ? with_whole_rows(input.residual)
                           : torch::empty({N, layer.weight.read().size(0)}, input.x.options()));
  }
  const Products products = products_into(input, outputs, adds);
  if (input.is_swiglu) {
    const kernels::LinearParams &gate = products.layers[0], &up = products.layers[1];
    for_units(Products::units(gate), 2 * K * N, [&](int64_t first, int64_t last) {
      const int64_t begin = first * kLinearUnit, end = std::min(last * kLinearUnit, gate.out);
      kernels::linear(gate, begin, end);
      kernels::linear(up, begin, end);
      apply_swiglu(outputs[0], outputs[1], begin, end);
    });
    return {outputs[0]};
  }
  int64_t units = 0;
  for (const kernels::LinearParams& layer : products.layers) units += Products::units(layer);
  for_units(units, K * N, [&](int64_t begin, int64_t end) { products.run(begin, end); });
  if (!adds) return outputs;
  if (!outputs[0].is_same(input.residual)) Tensor(input.residual).copy_(outputs[0]);
  return {};
}

}  // namespace hypenet
